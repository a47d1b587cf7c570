"""Log-likelihood of given continuations."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vcjax.foundation.errors import UserError
from vcjax.model.build import Params, packed_logits
from vcjax.text.tokenizer import Tokenizer

_SMALLEST_ROW = 64


def log_likelihood(
    graph: Any,
    params: Params,
    tokenizer: Tokenizer,
    contexts: Sequence[str],
    continuations: Sequence[str],
    max_position: int,
) -> list[tuple[float, bool]]:
    """Returns, for each pair, the natural log-probability of the continuation and whether each
    of its tokens is the most likely one.

    The two texts are encoded together and cut where the context, encoded alone, ends, as in
    EleutherAI's evaluation harness. Every token of the continuation is scored: where none is
    before it, BOS or EOS stands there.

    Raises:
      UserError: an empty continuation, or a pair longer than the model's context.
    """
    scores = []
    for context, continuation in zip(contexts, continuations, strict=True):
        ids, start = _encode_pair(tokenizer, context, continuation)
        if len(ids) > max_position:
            raise UserError(f"a pair of {len(ids)} tokens doesn't fit a context of {max_position}")
        scores.append(_score(graph, params, ids, start))
    return scores


def _encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], int]:
    if not continuation:
        raise UserError("a continuation is empty")
    whole = tokenizer.encode(context + continuation)
    # A continuation may be swallowed by the context's last token, which then is what it scores.
    start = min(len(tokenizer.encode(context)), len(whole) - 1)
    if start > 0 and not tokenizer.adds_bos:
        return whole, start
    first = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    if first is None:
        raise UserError("a continuation without a context needs a tokenizer with BOS or EOS")
    return [first, *whole], start + 1


def _score(graph: Any, params: Params, ids: list[int], start: int) -> tuple[float, bool]:
    length = _SMALLEST_ROW
    while length < len(ids):
        length *= 2
    tokens = np.zeros((1, length), np.int32)
    tokens[0, : len(ids)] = ids
    segments = (np.arange(length)[None] < len(ids)).astype(np.int32)
    scored = (np.arange(length)[None] >= start) & (segments > 0)
    total, greedy = _score_rows(graph, params, tokens, segments, scored)
    return float(total[0]), bool(greedy[0])


@partial(jax.jit, static_argnames=("graph",))
def _score_rows(
    graph: Any,
    params: Params,
    tokens: Int[Array, "rows length"],
    segments: Int[Array, "rows length"],
    scored: Bool[Array, "rows length"],
) -> tuple[Float[Array, " rows"], Bool[Array, " rows"]]:
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
    logits = packed_logits(graph, params, tokens, positions, segments)[:, :-1]
    targets, counted = tokens[:, 1:], scored[:, 1:]
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    logprobs = chosen - jax.nn.logsumexp(logits, axis=-1)
    greedy = (jnp.argmax(logits, axis=-1) == targets) | ~counted
    return jnp.sum(jnp.where(counted, logprobs, 0.0), axis=-1), jnp.all(greedy, axis=-1)
