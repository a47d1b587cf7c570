"""A request to the engine and its outcome, in token ids; and how a text is sampled.

`SamplingParams` is the house's only description of sampling settings: the engine, the text layer
and the server read it, and it checks every bound.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt32

from vcjax.core.errors import UserError
from vcjax.model.config import LlamaConfig

MAX_BIASES = 300
"""Entries of `logit_bias`, as in OpenAI's API."""
MAX_TOP_LOGPROBS = 20
"""Alternatives that are reported beside a token, as in OpenAI's API."""
# The devices store these settings in int32 and float32. Within the bounds, what is computed from
# them is finite: a repetition penalty that overflowed a logit would make the draw NaN.
_MAX_TOP_K = 2**31 - 1
_MAX_TEMPERATURE = 10_000
_REPETITION_PENALTIES = (0.001, 1000)
_CONSTRAINTS = ("json_schema", "regex", "choices", "grammar")


@dataclass(frozen=True)
class SamplingParams:
    """How a text is continued.

    Attributes:
      max_tokens, min_tokens: bounds of the continuation's length.
      temperature: divides the logits; 0 is greedy.
      top_k: number of most likely tokens to draw from; 0 is all.
      top_p: share of the probability mass to draw from.
      min_p: least probability of a token, as a share of the most likely one's.
      repetition_penalty, presence_penalty, frequency_penalty: see
        `vcjax.generate.sampling.penalise`; 1, 0 and 0 change nothing.
      logit_bias: added to the logits of these token ids.
      seed: of the draws. The engine takes 32 bits; the text layer derives them from any integer.
      stop: strings that end the text and aren't part of it; see
        `vcjax.generate.detokenizer.Detokenizer`.
      json_schema, regex, choices, grammar: what the text must match; one of them at most. A
        grammar is in `llguidance`'s form of Lark.
      top_logprobs: number of most likely tokens that are reported beside each one.

    Raises:
      UserError: a value that is out of its bounds, or more than one constraint.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    choices: tuple[str, ...] | None = None
    grammar: str | None = None
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        _check_bounds("max_tokens", self.max_tokens, 1)
        _check_bounds("min_tokens", self.min_tokens, 0, self.max_tokens)
        _check_bounds("temperature", self.temperature, 0, _MAX_TEMPERATURE)
        _check_bounds("top_k", self.top_k, 0, _MAX_TOP_K)
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        _check_bounds("min_p", self.min_p, 0, 1)
        _check_bounds("repetition_penalty", self.repetition_penalty, *_REPETITION_PENALTIES)
        _check_bounds("presence_penalty", self.presence_penalty, -2, 2)
        _check_bounds("frequency_penalty", self.frequency_penalty, -2, 2)
        if len(self.logit_bias) > MAX_BIASES:
            raise UserError(
                f"logit_bias has {len(self.logit_bias)} entries; at most {MAX_BIASES} are accepted"
            )
        for token, bias in self.logit_bias.items():
            _check_bounds(f"logit_bias of token {token}", bias, -100, 100)
        _check_bounds("top_logprobs", self.top_logprobs, 0, MAX_TOP_LOGPROBS)
        given = [name for name in _CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)}: a text can have one constraint only")

    @property
    def is_penalised(self) -> bool:
        """Whether the logits depend on the tokens so far."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
        )

    @property
    def is_constrained(self) -> bool:
        """Whether the text must match something."""
        return any(getattr(self, name) is not None for name in _CONSTRAINTS)


def _check_bounds(name: str, value: float, least: float, most: float = math.inf) -> None:
    if not (least <= value <= most and value < math.inf):
        bound = "" if most == math.inf else f" and at most {most}"
        raise UserError(f"{name} must be at least {least}{bound}, not {value}")


class ConstraintError(Exception):
    """A constraint can't be continued; its request ends with the finish reason `error`."""


class TokenConstraint(Protocol):
    """Decides which tokens may come next; see `vcjax.generate.constraints.Constraint`."""

    def mask(self) -> UInt32[np.ndarray, " words"]:
        """Bits of the tokens that may come next, 32 a word, the lowest first."""
        ...

    def accept(self, token: int) -> bool:
        """Advances by a token that was allowed, and returns True when nothing more may follow."""
        ...


class StoppingCriterion(Protocol):
    """Receives each token of a continuation and returns True to end it; see
    `vcjax.generate.detokenizer.Detokenizer`."""

    def accept(self, token: int) -> bool:
        """Takes the next token, and returns True where the continuation ends with it."""
        ...


@dataclass(frozen=True)
class Request:
    """Token ids to continue.

    The engine itself ignores `stop` and the constraints in `sampling`: they are about text, and
    `vcjax.generate.text.TextEngine` turns them into `stopping` and `constraint`.

    Attributes:
      prompt: token ids, at least one.
      eos_ids: each of these ends the continuation and isn't part of it.
      constraint: fresh state of a constraint; this request uses it up.
      stopping: may end the continuation from `min_tokens` tokens on; used up as well.
      prompt_top: number of most likely tokens that are reported beside each token of the prompt;
        None reports no scores of the prompt.
      is_scored_only: the request ends with its prompt; nothing is drawn.

    Raises:
      UserError: an empty prompt, or a seed that doesn't fit in 32 bits.
    """

    prompt: tuple[int, ...]
    sampling: SamplingParams
    eos_ids: tuple[int, ...] = ()
    constraint: TokenConstraint | None = None
    stopping: StoppingCriterion | None = None
    prompt_top: int | None = None
    is_scored_only: bool = False

    def __post_init__(self) -> None:
        if not self.prompt:
            raise UserError("prompt is empty")
        if not 0 <= self.sampling.seed < 2**32:
            raise UserError(f"seed must be at least 0 and below 2**32, not {self.sampling.seed}")

    def check(self, model: LlamaConfig, context: int) -> None:
        """Raises a UserError if the request doesn't fit the model's vocabulary or the context.

        Args:
          context: tokens of the longest sequence that is served.
        """
        new_tokens = 0 if self.is_scored_only else self.sampling.max_tokens
        if len(self.prompt) + new_tokens > context:
            raise UserError(
                f"a prompt of {len(self.prompt)} tokens and {new_tokens} new ones don't fit "
                f"{describe_context(context, model)}"
            )
        # On the devices an index beyond the vocabulary is not an error.
        for token in (min(self.prompt), max(self.prompt)):
            if not 0 <= token < model.vocab_size:
                raise UserError(
                    f"token {token} isn't in the model's vocabulary of {model.vocab_size}; "
                    "tokenizer and model don't belong together"
                )
        for token in self.sampling.logit_bias:
            if not 0 <= token < model.vocab_size:
                raise UserError(
                    f"logit_bias: token {token} isn't in the vocabulary of {model.vocab_size}"
                )


def describe_context(context: int, model: LlamaConfig) -> str:
    """The longest sequence that is served, for errors: the model's own context, or a bound."""
    if context == model.max_position:
        return f"the model's context of {context}"
    return f"the context of {context} that is served; the model's is {model.max_position}"


Alternatives = tuple[tuple[int, float], ...]
"""Token ids and their log-probabilities, the most likely first."""


@dataclass(frozen=True)
class Scored:
    """A model's scores of tokens that were given, the last ones of a sequence.

    Attributes:
      logprobs: natural log-probability of each, given all tokens before it.
      greedy: whether each is the most likely one at its position.
      ranks: how many tokens are at least as likely at its position, itself included.
      top: the most likely tokens at the position of each; empty where none were requested.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]
    ranks: tuple[int, ...]
    top: tuple[Alternatives, ...] = ()


@dataclass(frozen=True)
class Event:
    """One token of one request, or its end.

    Attributes:
      index: which of the caller's requests.
      token: None where the request ends without one: by an EOS id, or because it was cancelled
        or failed.
      finish_reason: None while the request continues, then `stop`, `length`, `cancelled` or
        `error` (its constraint can't be continued, or `cause` was raised on its behalf).
      eos: the EOS id that ended the request.
      is_stuck: whether it failed because its constraint can't be continued, which is the request's
        own doing: the constraint allows no token, or takes more work than `llguidance` allows.
      prompt: with the first event alone, the scores of the prompt's tokens but the first, if the
        request asks for them.
    """

    index: int
    token: int | None
    logprob: float
    finish_reason: str | None
    top: Alternatives = ()
    eos: int | None = None
    cause: BaseException | None = None
    is_stuck: bool = False
    prompt: Scored | None = None


@dataclass(frozen=True)
class Result:
    """A finished continuation.

    Attributes:
      tokens: the new ids, without what ended them.
      logprobs: of each token, in nats, under the plain model at temperature 1.
      finish_reason: as of `Event`.
      top: the most likely ids with their log-probabilities beside each token, where
        `top_logprobs` asked for any.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    top: tuple[Alternatives, ...] = ()

    @classmethod
    def of(cls, events: Sequence[Event], finish_reason: str) -> "Result":
        """Collects the events of one request that have a token."""
        return cls(
            tuple(event.token for event in events if event.token is not None),
            tuple(event.logprob for event in events),
            finish_reason,
            tuple(event.top for event in events),
        )

    @classmethod
    def all(
        cls,
        events: Iterable[Event],
        count: int,
        on_result: Callable[[int, "Result"], None] | None = None,
    ) -> list["Result"]:
        """The results of `count` requests from their events, interleaved; `on_result` gets each as
        it finishes."""
        made: list[list[Event]] = [[] for _ in range(count)]
        results: dict[int, Result] = {}
        for event in events:
            if event.token is not None:
                made[event.index].append(event)
            if event.finish_reason is not None:
                result = results[event.index] = cls.of(made[event.index], event.finish_reason)
                if on_result is not None:
                    on_result(event.index, result)
        return [results[index] for index in range(count)]
