"""What it means to be asked: one protocol for every Attacker, Actor, Critic and judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Message = dict[str, str]
Alternatives = tuple[tuple[str, float], ...]  # texts and their log-probabilities

OK, CONTENT_FILTER, TOO_LONG = "ok", "content filter", "too long"
"""Outcomes that callers tell apart; `vcjax.roles.answers` has those of endpoints."""


@dataclass(frozen=True)
class Ask:
    """One question to a role.

    Attributes:
      key: identifies the ask within a run, e.g. `<attempt id>/actor`.
      messages: the conversation so far, ending with a user's turn.
      max_tokens: bound of the reply, in tokens.
      temperature, top_p: 0 temperature is greedy.
      seed: of the reply's sampling; the same ask with the same seed gets the same reply.
      json_schema: the reply must be JSON of this schema; None leaves it free.
      top_logprobs: how many tokens, the likeliest, are told of for each number in a JSON reply.
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
    """What came back.

    Attributes:
      text: the reply, without special tokens; empty where there is none.
      finish_reason: `stop`, or `length` where it was cut by `max_tokens`; the outcome where that
        isn't `ok`, so that nobody takes a failure for a finished text.
      prompt_tokens, tokens: lengths in tokens of what was asked and answered.
      alternatives: where `Ask.top_logprobs` asked for them, what each number in a JSON reply might
        have been; see `vcjax.roles.alternatives`.
      outcome: `ok`, or the name of what went wrong, e.g. `timeout`.
      detail: what is known of that, e.g. what the endpoint said.
      seconds: of an endpoint, from the first try to the end of the last; of a local model, which
        answers many at once, since the reply before, so that they add up to the time spent.
      cost: in the currency of the endpoint's prices.
      model: which model it was: the content hash of local weights, or what the endpoint reports.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    alternatives: tuple[Alternatives, ...] = ()
    outcome: str = OK
    detail: str = ""
    seconds: float = field(default=0.0, compare=False)
    cost: float = 0.0
    model: str = ""

    @classmethod
    def failed(cls, outcome: str, detail: str = "", **known: Any) -> "Reply":
        """A reply without a text."""
        counts: dict[str, Any] = {"prompt_tokens": 0, "tokens": 0} | known
        return cls("", outcome, outcome=outcome, detail=detail, **counts)


def writable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON's "\\ud800" makes: UTF-8 has none."""
    return text.encode(errors="replace").decode()


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

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all `asks`, in their order.

        `on_reply(index, reply)` is called as each one is done, in any order, so that a caller can
        record it before the rest are finished.
        """
        ...
