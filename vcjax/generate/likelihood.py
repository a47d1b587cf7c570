"""Log-probabilities of texts that are given: answers to a context, or pairs of context and text."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx

from vcjax.core.errors import UserError
from vcjax.generate.requests import Scored, describe_context
from vcjax.generate.scoring import TOKEN_BUDGET, score
from vcjax.generate.text import Context
from vcjax.model.build import Params
from vcjax.text.rendering import render_prompt
from vcjax.text.tokenizer import Tokenizer


def score_answers(
    graph: Any,
    params: Params,
    tokenizer: Tokenizer,
    contexts: Sequence[Context],
    answers: Sequence[Sequence[str]],
    *,
    names: Sequence[str] = (),
    context: int | None = None,
    token_budget: int = TOKEN_BUDGET,
    on_scored: Callable[[int, list[float]], None] | None = None,
    copies: Sequence[Params] = (),
) -> list[list[float]]:
    """The natural log-probability of each answer to each context, all tokens of an answer together.

    `answers[i]` are the answers to `contexts[i]`; one list of floats for each context is returned,
    in the order of its answers. A context is run once for all of its answers. What ends a turn
    isn't scored.

    Args:
      contexts: conversations, which are rendered in the chat template up to the assistant's turn,
        or texts; see `encode_answers`.
      names: of the contexts, in errors; `context 0` and so on by default.
      context: tokens of the longest sequence that is scored; None is the model's maximum.
      token_budget, copies: see `vcjax.generate.scoring.score`.
      on_scored: called with the index of a context and the log-probabilities of its answers once
        all of them are known, in any order of contexts: for progress, and to record what a killed
        run needn't compute again. Scores of the same contexts in other company may differ in the
        last bits: a run whose numbers must be the same after a kill scores fixed chunks whole.

    Raises:
      UserError: not as many lists of answers as contexts, no answers to a context or one that isn't
        in a list, an empty answer, a conversation that can't be rendered, or an answer that doesn't
        fit the context behind its conversation.
    """
    if len(contexts) != len(answers):
        raise UserError(f"{len(contexts)} contexts and {len(answers)} lists of answers")
    names = names or [f"context {index}" for index in range(len(contexts))]
    model = nnx.merge(graph, params).config
    room = context or model.max_position
    sequences: list[tuple[list[int], int]] = []
    owners: list[int] = []
    ends = [0]
    for index, (name, asked, own) in enumerate(zip(names, contexts, answers, strict=True)):
        if not own:
            raise UserError(f"{name}: no answers; give at least one")
        if isinstance(own, str):
            raise UserError(f"{name}: its answers must be a list, also where there is only one")
        try:
            sequences += encode_answers(tokenizer, asked, own)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        longest = max(len(ids) for ids, _ in sequences[ends[-1] :])
        if longest > room + 1:  # the last token is only predicted, so it takes no position
            raise UserError(
                f"{name}: {longest} tokens with the longest answer don't fit "
                f"{describe_context(room, model)}"
            )
        owners += [index] * len(own)
        ends.append(len(sequences))
    totals: dict[int, float] = {}
    missing = [len(own) for own in answers]

    def of(owner: int) -> list[float]:
        return [totals[n] for n in range(ends[owner], ends[owner + 1])]

    def received(sequence: int, scored: Scored) -> None:
        totals[sequence] = sum(scored.logprobs)
        owner = owners[sequence]
        missing[owner] -= 1
        if not missing[owner] and on_scored is not None:
            on_scored(owner, of(owner))

    score(graph, params, sequences, token_budget=token_budget, on_scored=received, copies=copies)
    return [of(owner) for owner in range(len(contexts))]


def log_likelihood(
    graph: Any,
    params: Params,
    tokenizer: Tokenizer,
    contexts: Sequence[Context],
    continuations: Sequence[str],
    *,
    max_position: int,
    token_budget: int = TOKEN_BUDGET,
    copies: Sequence[Params] = (),
) -> list[tuple[float, bool]]:
    """Returns, for each pair, the natural log-probability of the continuation and whether each
    of its tokens is the most likely one.

    Args:
      contexts: texts, or conversations, which the assistant's turn follows; see `encode_answers`.
      token_budget, copies: see `vcjax.generate.scoring.score`.

    Raises:
      UserError: not as many continuations as contexts, an empty continuation, a conversation that
        can't be rendered, or a pair longer than the model's context.
    """
    if len(contexts) != len(continuations):
        raise UserError(
            f"{len(contexts)} contexts and {len(continuations)} continuations; a pair has both"
        )
    sequences = [
        encode_answers(tokenizer, context, [continuation])[0]
        for context, continuation in zip(contexts, continuations, strict=True)
    ]
    for ids, _ in sequences:
        if len(ids) > max_position:
            raise UserError(f"a pair of {len(ids)} tokens doesn't fit a context of {max_position}")
    scored = score(graph, params, sequences, token_budget=token_budget, copies=copies)
    return [(sum(each.logprobs), all(each.greedy)) for each in scored]


def encode_answers(
    tokenizer: Tokenizer, context: Context, answers: Sequence[str]
) -> list[tuple[list[int], int]]:
    """For each answer the ids of the context and the answer, and the index where the latter starts.

    After a conversation the ids are those of `render_prompt`, which the model is given to continue,
    and then those of the answer's text alone, in which strings of special tokens are text. After a
    text they are those of `encode_pair`.

    Raises:
      UserError: an empty answer, or a conversation that can't be rendered or ends with the
        assistant's turn.
    """
    if isinstance(context, str):
        return [encode_pair(tokenizer, context, answer) for answer in answers]
    if context and context[-1].get("role") == "assistant":
        raise UserError("a conversation ends with the assistant's turn; an answer can't follow it")
    prompt = list(render_prompt(tokenizer, context))
    encoded = [tokenizer.encode(answer) for answer in answers]
    if not all(encoded):
        raise UserError("a continuation is empty")
    return [([*prompt, *ids], len(prompt)) for ids in encoded]


def encode_pair(
    tokenizer: Tokenizer, context: str, continuation: str, *, special: bool = False
) -> tuple[list[int], int]:
    """The ids of both texts, and the index at which the continuation starts.

    The two are encoded together and cut where the context, encoded alone, ends; white space at the
    context's end belongs to the continuation. If no token came before the continuation, BOS or EOS
    does. All as in EleutherAI's evaluation harness (`TemplateLM._encode_pair`), but for a
    continuation that is swallowed by the context's last token: that token is then scored.

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
    """The token before a text that has no context: BOS, or EOS if there is none.

    Raises:
      UserError: the tokenizer has neither.
    """
    first = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    if first is None:
        raise UserError("a continuation without a context needs a tokenizer with BOS or EOS")
    return first
