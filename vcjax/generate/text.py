"""The text layer on the engine: prompts and conversations in, text out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.generate.constraints import Constraint, Constraints
from vcjax.generate.decoder import Decoder
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, Result
from vcjax.text import render_prompt
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.bundle import Bundle

Conversation = Sequence[dict[str, str]]
Prompt = str | Conversation | Sequence[int]


@dataclass(frozen=True)
class Sampling:
    """How to continue a text; see `vcjax.generate.requests.Request`.

    Attributes:
      stop: strings that end the text, which they aren't part of, once it has `min_tokens` tokens;
        see `vcjax.generate.decoder.Decoder` for which of several does.
      json_schema, regex, choices: what the text must be, one of them at most.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    json_schema: dict[str, Any] | None = None
    regex: str | None = None
    choices: tuple[str, ...] | None = None
    min_tokens: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        given = [name for name in _CONSTRAINTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)}: a text can't be held to both")


_CONSTRAINTS = ("json_schema", "regex", "choices")
_TEXTUAL = {*_CONSTRAINTS, "stop"}
_SHARED = tuple(name for name in Sampling.__dataclass_fields__ if name not in _TEXTUAL)


class TextEngine:
    """An engine with its model's tokenizer and chat template."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        """`engine` runs the parameters of `bundle`."""
        self.tokenizer = bundle.require_tokenizer()
        self.engine, self.eos_ids = engine, bundle.eos_ids
        self._constraints: Constraints | None = None

    def request(self, prompt: Prompt, sampling: Sampling) -> Request:
        """What the engine is asked; see `encode_prompt`."""
        request = Request(
            prompt=encode_prompt(self.tokenizer, prompt),
            eos_ids=self.eos_ids,
            watch=self._watch(sampling) if sampling.stop else None,
            **{name: getattr(sampling, name) for name in _SHARED},
        )
        self.engine.check(request)
        return replace(request, constraint=self._constraint(sampling))

    @property
    def constraints(self) -> Constraints:
        """Made on first use: it takes the tokenizer apart, about a second for 50,000 tokens."""
        if self._constraints is None:
            vocab_size = self.engine.config.vocab_size
            self._constraints = Constraints(self.tokenizer, vocab_size, self.eos_ids)
        return self._constraints

    def text(self, request: Request, result: Result) -> str:
        """What a request's tokens say, up to its stop string."""
        if isinstance(request.watch, Decoder):
            request.watch.finish()
            return request.watch.text
        return self.tokenizer.decode(result.tokens)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        on_text: Callable[[int, str, Result], None] | None = None,
    ) -> list[str]:
        """Continues all prompts; prompt i draws from a seed derived from (seed, i).

        Raises:
          UserError: a single prompt instead of a list, or one that doesn't fit the context.
        """
        if isinstance(prompts, str):
            raise UserError("prompts must be a list of texts or conversations, not one text")
        requests = [
            self.request(prompt, replace(sampling, seed=derive_seed(sampling.seed, i)))
            for i, prompt in enumerate(prompts)
        ]

        def finished(index: int, result: Result) -> None:
            if on_text is not None:
                on_text(index, self.text(requests[index], result), result)

        results = self.engine.generate(requests, finished)
        return [self.text(*pair) for pair in zip(requests, results, strict=True)]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Yields pieces of one continuation as they are made; see `Decoder.take`."""
        request = self.request(prompt, sampling)
        decoder = request.watch
        if not isinstance(decoder, Decoder):
            decoder = self._watch(sampling)
            request = replace(request, watch=decoder)
        for _ in self.engine.stream(request):
            if piece := decoder.take():
                yield piece
        if piece := decoder.finish():
            yield piece

    def _watch(self, sampling: Sampling) -> Decoder:
        return Decoder(self.tokenizer, sampling.stop, sampling.min_tokens)

    def _constraint(self, sampling: Sampling) -> Constraint | None:
        if sampling.json_schema is not None:
            return self.constraints.json(sampling.json_schema)
        if sampling.regex is not None:
            return self.constraints.regex(sampling.regex)
        if sampling.choices is not None:
            return self.constraints.choices(list(sampling.choices))
        return None


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt) -> tuple[int, ...]:
    """Ids to continue: a text as it stands (after BOS, where the tokenizer adds one); a
    conversation rendered with the model's chat template, up to the assistant's turn; ids as they
    are."""
    if isinstance(prompt, str):
        bos = tokenizer.bos_id if tokenizer.adds_bos else None
        return (*(() if bos is None else (bos,)), *tokenizer.encode(prompt))
    if prompt and isinstance(prompt[0], int):
        return tuple(cast(Sequence[int], prompt))
    conversation = cast(Conversation, prompt)
    return render_prompt(tokenizer, conversation)
