"""The protocol of whoever is asked: every Attacker, Actor, Critic and judge.

A role is given `Ask`s and returns `Reply`s. What an implementation fills in beside the text, the
alternatives of the numbers in a JSON reply, is here as well. A role that is a `ScoringRole` also
reports how likely given answers are.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from vcjax.core.errors import UserError

Message = dict[str, str]
Alternatives = tuple[tuple[str, float], ...]
"""Texts that might have been written at one position, and their log-probabilities."""

OK, CONTENT_FILTER, TOO_LONG = "ok", "content filter", "too long"
"""Outcomes that callers distinguish; `vcjax.roles.responses` has those of endpoints."""

_STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*')
_WHOLE_NUMBER = re.compile(r"\s*(\d+)\D*")


@dataclass(frozen=True)
class Ask:
    """One request to a role.

    Attributes:
      key: identifies the ask within a run, e.g. `<attempt id>/actor`.
      messages: the conversation so far, ending with a user's turn.
      max_tokens: bound of the reply, in tokens.
      temperature, top_p: temperature 0 is greedy.
      seed: of the reply's sampling; the same ask with the same seed gets the same reply.
      json_schema: the reply must be JSON of this schema; None leaves it free.
      top_logprobs: how many of the likeliest tokens are reported for each number in a JSON reply.
    """

    key: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    json_schema: dict[str, Any] | None = None
    top_logprobs: int = 0


@dataclass(frozen=True)
class Reply:
    """The reply to one ask, or how it failed.

    Attributes:
      text: the reply, without special tokens; empty where there is none.
      finish_reason: `stop`, or `length` where it was cut by `max_tokens`; the outcome where that
        isn't `ok`, so that a failure is never mistaken for a finished text.
      prompt_tokens, tokens: lengths of prompt and reply, in tokens.
      alternatives: where `Ask.top_logprobs` asked for them, those of each number in a JSON reply;
        see `number_alternatives`.
      outcome: `ok`, or the name of the failure, e.g. `timeout`.
      detail: more about a failure, e.g. the endpoint's error message.
      seconds: of an endpoint, from the first try to the end of the last; of a local model, which
        answers many at once, since the reply before, so that they add up to the time spent.
      cost: in the currency of the endpoint's prices; None where those aren't known.
      model: the content hash of local weights, or the model that the endpoint reports.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    alternatives: tuple[Alternatives, ...] = ()
    outcome: str = OK
    detail: str = ""
    seconds: float = field(default=0.0, compare=False)
    cost: float | None = None
    model: str = ""

    @classmethod
    def failed(cls, outcome: str, detail: str = "", **known: Any) -> "Reply":
        """A reply without a text."""
        counts: dict[str, Any] = {"prompt_tokens": 0, "tokens": 0} | known
        return cls("", outcome, outcome=outcome, detail=detail, **counts)


@dataclass(frozen=True)
class LikelihoodAsk:
    """A question to a `ScoringRole`: how likely each of several answers is.

    Attributes:
      key: identifies the ask within a run.
      messages: the conversation that the answers follow, ending with a user's turn.
      answers: texts of the assistant's turn, without its end; at least one, and no two alike.
    """

    key: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...]


LogProbs = tuple[float, ...]
"""Natural logarithms of the probabilities of a `LikelihoodAsk`'s answers, in their order."""


class Role(Protocol):
    """Someone who can be asked."""

    @property
    def family(self) -> str:
        """The model family, e.g. `smollm2`: a Critic or judge should be of another one."""
        ...

    @property
    def model(self) -> str:
        """The model reference, as the records name it."""
        ...

    @property
    def identity(self) -> str:
        """What a recorded reply is known by: the content hash of local weights; of an endpoint or a
        transcript, whose model can't be hashed, `model`."""
        ...

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all `asks`, in their order.

        `on_reply(index, reply)` is called as each one finishes, in any order, so that a caller can
        record it before the others are finished.
        """
        ...


@runtime_checkable
class ScoringRole(Role, Protocol):
    """A role that can report how likely given answers are: a local model, or `recorded:FILE`."""

    def log_likelihoods(
        self,
        asks: Sequence[LikelihoodAsk],
        on_scored: Callable[[int, LogProbs], None] | None = None,
    ) -> list[LogProbs]:
        """The log-probabilities of the answers of all `asks`, in their order.

        `on_scored(index, log_probs)` is called as those of each ask are known, in any order.

        Raises:
          UserError: an ask that can't be scored, or whose scores weren't recorded.
        """
        ...


def scoring(role: Role, field: str) -> ScoringRole:
    """The role, if it can report log-likelihoods.

    Args:
      field: where the user names it, e.g. `model`.

    Raises:
      UserError: it can't, such as an endpoint of chat completions.
    """
    if isinstance(role, ScoringRole):
        return role
    raise UserError(
        f"config.{field}: {role.model} doesn't report the log-likelihoods of given answers; name a "
        "local model or recorded:FILE"
    )


def writable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON's "\\ud800" makes: UTF-8 has none."""
    return text.encode(errors="replace").decode()


def number_alternatives(
    tokens: Sequence[tuple[str, float]], top: Sequence[Alternatives]
) -> tuple[Alternatives, ...]:
    """The alternatives of each number in a JSON reply, in the reply's order.

    Only these are kept of a reply's alternatives: a score is one token, a reply has hundreds.

    Args:
      tokens: the text of each token of the reply and its log-probability. Bytes of a character
        that several tokens share may be U+FFFD: they occur in strings alone.
      top: for each token the likeliest texts at its position, with their log-probabilities.

    Returns the alternatives of the token that each number begins in, the chosen token among them: a
    constraint may choose one that isn't likely. The part of the token before the number is removed
    (a token may be `:4`); alternatives that begin otherwise are left out.

    Raises:
      ValueError: not one entry of `top` for each token.
    """
    if len(tokens) != len(top):
        raise ValueError(f"{len(tokens)} tokens, but alternatives for {len(top)}")
    texts = [text for text, _ in tokens]
    starts, length = [], 0
    for text in texts:
        starts.append(length)
        length += len(text)
    found, index = [], 0
    for match in _STRING_OR_NUMBER.finditer("".join(texts)):
        if match.group().startswith('"'):
            continue
        while index + 1 < len(starts) and starts[index + 1] <= match.start():
            index += 1
        prefix = texts[index][: match.start() - starts[index]]
        # The token may begin before the number; then only alternatives that begin alike compare.
        chosen = () if texts[index] in dict(top[index]) else (tokens[index],)
        found.append(
            tuple(
                (text.removeprefix(prefix), logprob)
                for text, logprob in (*top[index], *chosen)
                if text.startswith(prefix)
            )
        )
    return tuple(found)


def expected_score(alternatives: Alternatives, lowest: int, highest: int) -> float | None:
    """The mean of the scores that might have been written, weighted by their probabilities.

    Texts that aren't a whole number from `lowest` to `highest` don't count. The rest is normalised,
    so that a constraint's mask may come before the probabilities or after them. None where there
    are no scores among them. (Liu et al., G-Eval, arXiv 2303.16634, eq. 1.)
    """
    logprobs: list[tuple[int, float]] = []
    for text, logprob in alternatives:
        number = _WHOLE_NUMBER.fullmatch(text)
        if number and lowest <= int(number[1]) <= highest and logprob > -math.inf:
            logprobs.append((int(number[1]), logprob))
    if not logprobs:
        return None
    # Relative to the largest, as the exponentials of very improbable scores would all be 0.
    most = max(logprob for _, logprob in logprobs)
    weights = [(score, math.exp(logprob - most)) for score, logprob in logprobs]
    return sum(score * weight for score, weight in weights) / sum(w for _, w in weights)
