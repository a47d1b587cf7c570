"""Log-likelihood of given continuations."""

from collections.abc import Sequence
from typing import Any

from vcjax.core.errors import UserError
from vcjax.generate.scoring import TOKEN_BUDGET, score
from vcjax.model.build import Params
from vcjax.text.tokenizer import Tokenizer


def log_likelihood(
    graph: Any,
    params: Params,
    tokenizer: Tokenizer,
    contexts: Sequence[str],
    continuations: Sequence[str],
    max_position: int,
    token_budget: int = TOKEN_BUDGET,
) -> list[tuple[float, bool]]:
    """Returns, for each pair, the natural log-probability of the continuation and whether each
    of its tokens is the most likely one.

    Args:
      token_budget: see `vcjax.generate.scoring.score`.

    Raises:
      UserError: an empty continuation, or a pair longer than the model's context.
    """
    pairs = zip(contexts, continuations, strict=True)
    sequences = [encode_pair(tokenizer, *pair) for pair in pairs]
    for ids, _ in sequences:
        if len(ids) > max_position:
            raise UserError(f"a pair of {len(ids)} tokens doesn't fit a context of {max_position}")
    scored = score(graph, params, sequences, token_budget=token_budget)
    return [(sum(each.logprobs), all(each.greedy)) for each in scored]


def encode_pair(
    tokenizer: Tokenizer, context: str, continuation: str, *, special: bool = False
) -> tuple[list[int], int]:
    """The ids of both texts and where the continuation begins among them.

    The two are encoded together and cut where the context, encoded alone, ends; white space at the
    context's end belongs to the continuation. Where no token would be before the continuation, BOS
    or EOS stands there. All as in EleutherAI's evaluation harness (`TemplateLM._encode_pair`), but
    for a continuation that is swallowed by the context's last token: that token is then scored.

    Args:
      special: whether strings of special tokens in the texts are parsed as such.

    Raises:
      UserError: the continuation is empty.
    """
    if not continuation:
        raise UserError("a continuation is empty")
    whole = tokenizer.encode(context + continuation, special=special)
    before = tokenizer.encode(context.rstrip(), special=special)
    start = min(len(before), len(whole) - 1)
    if start > 0 and (not tokenizer.adds_bos or whole[0] == tokenizer.bos_id):
        return whole, start
    return [prefix_id(tokenizer), *whole], start + 1


def prefix_id(tokenizer: Tokenizer) -> int:
    """The token that a text without a context comes after: BOS, or EOS where there is none."""
    first = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    if first is None:
        raise UserError("a continuation without a context needs a tokenizer with BOS or EOS")
    return first
