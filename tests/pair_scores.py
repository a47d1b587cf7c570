"""A model's log-likelihood margins between the chosen and the rejected answer of pairs."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from vcjax.data.prepared import Prepared
from vcjax.model.build import abstract, logical_axes, shapes
from vcjax.parallel import make_mesh, put, shardings
from vcjax.train.reference import score_pairs
from vcjax.weights.model import LoadedModel


@dataclass(frozen=True, eq=False)
class PairScores:
    """Of each pair's answers, the chosen one first: log-probabilities in nats, and tokens."""

    log_probs: Float32[np.ndarray, "pairs 2"]
    tokens: Int[np.ndarray, "pairs 2"]

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


def score_model(loaded: LoadedModel, rows: Prepared, pairs: int) -> PairScores:
    """Scores all of the prepared pairs, `pairs` at a time, over all devices."""
    mesh = make_mesh({"fsdp": -1})
    pairs += -pairs % mesh.size
    graph, _ = abstract(loaded.config, dtype=loaded.dtype, mesh=mesh)
    placed = shardings(mesh, logical_axes(loaded.config), shapes(loaded.config))
    params = jax.tree.map(put, loaded.params, placed)
    log_probs = np.zeros((len(rows), 2), np.float32)
    for indices, found in score_pairs(graph, params, rows, pairs, mesh):
        log_probs[indices] = found
    tokens = [rows[index]["loss_mask"].sum(axis=1) for index in range(len(rows))]
    return PairScores(log_probs, np.stack(tokens))
