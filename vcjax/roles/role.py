"""What it means to be asked: one protocol for every Attacker, Actor, Critic and judge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Message = dict[str, str]


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
      top_logprobs: how many alternatives the reply tells for each of its tokens; 0 tells none.
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
class TokenChoice:
    """One token of a reply: its text and the likeliest texts that might have stood there.

    Bytes of a character that several tokens share are U+FFFD.

    Attributes:
      text: of the token that was chosen.
      top: (text, log-probability) of the likeliest tokens, the chosen one among them or not.
    """

    text: str
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
      text: the reply, without special tokens.
      finish_reason: `stop`, or `length` where it was cut by `max_tokens`.
      prompt_tokens, tokens: lengths in tokens of what was asked and answered.
      choices: one for each token where `Ask.top_logprobs` asked for them, else empty.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    choices: tuple[TokenChoice, ...] = ()


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
