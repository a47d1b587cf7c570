"""What it means to be asked: one protocol for every Attacker, Actor, Critic and judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Message = dict[str, str]
Alternatives = tuple[tuple[str, float], ...]  # texts and their log-probabilities


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
      text: the reply, without special tokens.
      finish_reason: `stop`, or `length` where it was cut by `max_tokens`.
      prompt_tokens, tokens: lengths in tokens of what was asked and answered.
      alternatives: where `Ask.top_logprobs` asked for them, what each number in a JSON reply might
        have been; see `vcjax.roles.alternatives`.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    alternatives: tuple[Alternatives, ...] = ()


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
