"""Log-probabilities of prepared pairs under one model, and what they say of its preferences."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Float32, Float64, Int32

from vcjax.data.loader import in_order
from vcjax.data.prepared import Prepared
from vcjax.model.build import Params, abstract, logical_axes, shapes
from vcjax.parallel import OnMesh, ShardingRules, make_mesh, put, replicated, shardings
from vcjax.train.placement import place_batch
from vcjax.train.preference import pair_log_probs
from vcjax.weights.bundle import Bundle


@dataclass(frozen=True, eq=False)
class PairScores:
    """Scores of pairs, the chosen answer first.

    Attributes:
      log_probs: of each answer, in nats.
      tokens: of each answer.
    """

    log_probs: Float32[np.ndarray, "pairs 2"]
    tokens: Int32[np.ndarray, "pairs 2"]

    def margins(
        self, reference: "PairScores | None" = None, *, per_token: bool = False
    ) -> Float64[np.ndarray, " pairs"]:
        """By how many nats the chosen answer is likelier than the rejected one.

        Args:
          reference: of another model; then what counts is how much likelier each answer became
            since, which is DPO's implicit reward, but for the factor beta.
          per_token: of each answer the mean over its tokens, so that longer ones don't lose.
        """
        values = self.log_probs.astype(np.float64)
        if reference is not None:
            values = values - reference.log_probs
        if per_token:
            values = values / self.tokens
        return values[:, 0] - values[:, 1]


def accuracy(margins: Float[np.ndarray, " pairs"]) -> float:
    """Share of the pairs in which the chosen answer is ahead; a tie counts a half."""
    return float(np.mean((np.sign(margins) + 1) / 2))


def score_model(bundle: Bundle, rows: Prepared, pairs: int) -> PairScores:
    """Scores all pairs under a model, in their order, over all devices.

    Args:
      rows: prepared preferences.
      pairs: scored at a time, rounded up to a multiple of the devices.
    """
    mesh, rules = make_mesh({"fsdp": -1}), ShardingRules()
    pairs += -pairs % mesh.size
    graph, _ = abstract(bundle.config, dtype=bundle.dtype, on=OnMesh(mesh, rules))
    places = shardings(mesh, rules, logical_axes(bundle.config), shapes(bundle.config))
    params = jax.tree.map(put, bundle.params, places)
    return joined(list(score_pairs(graph, params, rows, pairs, mesh, rules)))


def score_pairs(
    graph: Any,
    params: Params,
    rows: Prepared,
    pairs: int,
    mesh: Mesh,
    rules: ShardingRules,
    start: int = 0,
) -> Iterator[PairScores]:
    """Scores the pairs from `start` on, in their order, `pairs` at a time.

    With several processes each takes part and has all the scores.

    Args:
      params: of `graph`, placed on the mesh.
      rows: prepared preferences.
      pairs: a multiple of the devices that share rows out.
    """
    everywhere = replicated(mesh)
    for count, batch in in_order(rows, pairs, start):
        scores = _score(graph, everywhere, params, place_batch(batch, mesh, rules))
        log_probs, tokens = (np.asarray(each)[:count] for each in scores)
        yield PairScores(log_probs, tokens)


def joined(parts: list[PairScores]) -> PairScores:
    """Scores one after the other."""
    return PairScores(
        np.concatenate([part.log_probs for part in parts]),
        np.concatenate([part.tokens for part in parts]),
    )


@partial(jax.jit, static_argnames=("graph", "everywhere"))
def _score(
    graph: Any, everywhere: NamedSharding, params: Params, batch: dict[str, Array]
) -> tuple[Array, Array]:
    log_probs, tokens = pair_log_probs(nnx.merge(graph, params), batch)
    scores = log_probs, tokens.astype(jnp.int32)
    return jax.lax.with_sharding_constraint(scores, (everywhere, everywhere))
