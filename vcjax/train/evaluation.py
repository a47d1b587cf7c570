"""What a run measures of its model every few steps: losses on held-out rows, sampled answers."""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from vcjax.data.loader import in_order
from vcjax.data.prepared import Prepared
from vcjax.model.build import Params
from vcjax.model.lora import join_params
from vcjax.parallel import on_main_process, replicated
from vcjax.train.config import TrainConfig
from vcjax.train.layout import Layout, local_rows, shard_batch
from vcjax.train.logging import VALIDATION, Log, finite, read_lines
from vcjax.train.losses import Loss
from vcjax.train.samples import Samples
from vcjax.train.stopping import EarlyStopping
from vcjax.train.validation_data import Group

Sums = dict[str, float]


class Evaluation:
    """Measures when it is due, and remembers what earlier starts have measured.

    Attributes:
      stopping: the rule that ends a run early, after all measurements so far.
    """

    def __init__(
        self,
        config: TrainConfig,
        validation: "ValidationLoss | None",
        samples: Samples | None,
        workdir: Path,
        done: int,
    ) -> None:
        """`done` is the number of steps that the run continues from."""
        self._config, self._validation, self._samples = config, validation, samples
        self._lines = on_main_process(lambda: read_lines(workdir / VALIDATION, done))
        losses = ((line["step"], line["loss"]) for line in self._lines)
        self.stopping = EarlyStopping.after(config.validation.patience, losses)

    def due(self, step: int) -> bool:
        """Whether to measure after `step` steps: at the start, every few steps, at the end."""
        every = self._config.validation.every
        return every > 0 and (step % every == 0 or step == self._config.steps)

    def measure(
        self, step: int, trainable: Params, frozen: Params, log: Log | None
    ) -> float | None:
        """Measures the model after `step` steps; returns its validation loss, if there is data.

        Every process calls it; the main process has the log, and its loss is the one that counts.
        """
        loss = None
        if self._validation is not None:
            # As the file will have it (None for NaN), so that a start which reads it goes on alike.
            line = finite({"step": step, **self._validation.measure(trainable, frozen)})
            self._lines.append(line)
            # All processes must stop at the same step, so one of them decides.
            loss = on_main_process(lambda: line["loss"])
            self.stopping.add(step, loss)
            if log is not None:
                log.write_validation(line)
        if self._samples is not None and log is not None:
            answers = self._samples.generate(trainable, frozen)
            log.write_samples(step, self._samples.prompts, answers)
        return loss

    def summary(self) -> dict[str, Any]:
        """Its part of `summary.json`; {} where no loss was measured.

        Returns:
          `validation`: `first_loss, last_loss, best_loss, best_step`; `stopped_early`: the step,
          only where the run did.
        """
        if not self._lines:
            return {}
        about = {
            "first_loss": self._lines[0]["loss"],
            "last_loss": self._lines[-1]["loss"],
            "best_loss": self.stopping.best_loss,
            "best_step": self.stopping.best_step,
        }
        stopped = self.stopping.stopped
        return {"validation": about, **({} if stopped is None else {"stopped_early": stopped})}


class ValidationLoss:
    """The objective's loss on all rows of each group, a microbatch of them at a time.

    One computation is compiled, laid out over the mesh as the training step is. Beside the model,
    the devices need memory for the activations of a microbatch's forward pass.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        config: TrainConfig,
        layout: Layout,
        loss: Loss,
    ) -> None:
        """Compiles nothing yet."""
        self._groups, self._mesh = groups, layout.mesh
        self._rows = config.batch_size // config.microbatches
        self._in_nats = config.objective == "next_token"

        def sums(trainable: Params, frozen: Params, batch: dict[str, Array]) -> dict[str, Array]:
            total, others = loss(nnx.merge(layout.graph, join_params(trainable, frozen)), batch)
            return {"loss": total, **others}

        self._sums = jax.jit(sums, out_shardings=replicated(layout.mesh))

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
        pending: list[dict[str, Array]] = []
        for _, batch in in_order(rows, self._rows, local_rows(self._mesh, self._rows)):
            sharded = shard_batch(batch, self._mesh, self._rows)
            pending.append(self._sums(trainable, frozen, sharded))
            if len(pending) > 1:  # one is computed while the next one's rows are read
                _add(total, pending.pop(0))
        _add(total, pending.pop())
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
        # On the host, where Python's floats are float64: a sum of thousands of batches loses no
        # digits.
        total[name] += float(value)
