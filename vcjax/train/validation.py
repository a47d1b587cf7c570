"""Validation: the objective's loss on held-out rows, by language and domain."""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array

from vcjax.data.loader import in_order
from vcjax.data.prepared import Prepared
from vcjax.model.build import Params
from vcjax.parallel import ShardingRules, replicated
from vcjax.train.config import TrainConfig
from vcjax.train.objective import Loss
from vcjax.train.placement import place_batch
from vcjax.train.state import Layout
from vcjax.train.validation_data import Group
from vcjax.weights.adapters import join

Sums = dict[str, float]


class Validation:
    """Measures all rows of each group, a microbatch of them at once.

    One computation is compiled, laid over the mesh as the training step is. Beside the model on
    its devices it holds the activations of a microbatch's forward pass.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        config: TrainConfig,
        layout: Layout,
        loss: Loss,
        mesh: Mesh,
        rules: ShardingRules,
    ) -> None:
        """Compiles nothing yet."""
        self._groups, self._mesh, self._rules = groups, mesh, rules
        self._rows = config.batch_size // config.microbatches
        self._in_nats = config.objective == "next_token"

        def sums(trainable: Params, frozen: Params, batch: dict[str, Array]) -> dict[str, Array]:
            total, others = loss(nnx.merge(layout.graph, join(trainable, frozen)), batch)
            return {"loss": total, **others}

        self._sums = jax.jit(sums, out_shardings=replicated(mesh))

    def measure(self, trainable: Params, frozen: Params) -> dict[str, Any]:
        """Means over all predicted tokens (pairs, for preferences), whichever group they are in.

        Returns:
          `loss`, `perplexity` (e to the loss; not for preferences, whose loss is none of a
          token), `count` (of what the means are over) and what else the objective measures; the
          same for each of `groups`, `languages` and `domains`; `seconds`.
        """
        start = time.perf_counter()
        of_group = [(group, self._total(trainable, frozen, group.rows)) for group in self._groups]
        line: dict[str, Any] = self._means([sums for _, sums in of_group])
        for kind, field in (("groups", "name"), ("languages", "lang"), ("domains", "domain")):
            parts: dict[str, list[Sums]] = defaultdict(list)
            for group, sums in of_group:
                if (name := getattr(group, field)) is not None:
                    parts[name].append(sums)
            line[kind] = {name: self._means(parts[name]) for name in sorted(parts)}
        return {**line, "seconds": time.perf_counter() - start}

    def _total(self, trainable: Params, frozen: Params, rows: Prepared) -> Sums:
        total: Sums = defaultdict(float)
        waiting: list[dict[str, Array]] = []
        for _, batch in in_order(rows, self._rows):
            placed = place_batch(batch, self._mesh, self._rules)
            waiting.append(self._sums(trainable, frozen, placed))
            if len(waiting) > 1:  # one is computed while the next one's rows are read
                _add(total, waiting.pop(0))
        _add(total, waiting.pop())
        return total

    def _means(self, parts: list[Sums]) -> dict[str, float]:
        totals = {name: sum(part[name] for part in parts) for name in parts[0]}
        count = totals.pop("count")
        means = {name: total / max(count, 1) for name, total in totals.items()}
        if self._in_nats:
            means["perplexity"] = perplexity(means["loss"])
        return {**means, "count": int(count)}


def perplexity(loss: float) -> float:
    """e to a mean loss in nats; infinite where float64 has no number for it."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _add(total: Sums, sums: dict[str, Array]) -> None:
    for name, value in jax.device_get(sums).items():
        total[name] += float(value)
