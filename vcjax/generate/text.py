"""The text layer on the engine: prompts and conversations in, text out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vcjax.foundation.errors import UserError
from vcjax.foundation.seeds import derive_seed
from vcjax.generate.constraints import Constraints
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, Result
from vcjax.text import render_conversation
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.bundle import Bundle

Conversation = Sequence[dict[str, str]]
Prompt = str | Conversation


@dataclass(frozen=True)
class Sampling:
    """How to continue a text; see `vcjax.generate.engine.Request`."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    json_schema: dict[str, Any] | None = None


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
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            seed=sampling.seed,
            eos_ids=self.eos_ids,
        )
        self.engine.check(request)
        if sampling.json_schema is None:
            return request
        return replace(request, constraint=self.constraints.json(sampling.json_schema))

    @property
    def constraints(self) -> Constraints:
        """Made on first use: it takes the tokenizer apart, about a second for 50,000 tokens."""
        if self._constraints is None:
            vocab_size = self.engine.config.vocab_size
            self._constraints = Constraints(self.tokenizer, vocab_size, self.eos_ids)
        return self._constraints

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
                on_text(index, self.tokenizer.decode(result.tokens), result)

        results = self.engine.generate(requests, finished)
        return [self.tokenizer.decode(result.tokens) for result in results]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Yields pieces of one continuation as they are made.

        A piece ends where the text so far is whole: bytes of an unfinished character wait.
        """
        tokens: list[int] = []
        shown = ""
        for event in self.engine.events([self.request(prompt, sampling)]):
            if event.token is not None:
                tokens.append(event.token)
            text = self.tokenizer.decode(tokens)
            if event.finish_reason is None and text.endswith("\ufffd"):
                continue
            yield text[len(shown) :]
            shown = text


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt) -> tuple[int, ...]:
    """Ids to continue: a text as it stands (after BOS, where the tokenizer adds one); a
    conversation rendered with the model's chat template, up to the assistant's turn."""
    if isinstance(prompt, str):
        bos = tokenizer.bos_id if tokenizer.adds_bos else None
        return (*(() if bos is None else (bos,)), *tokenizer.encode(prompt))
    return render_conversation(tokenizer, prompt, add_generation_prompt=True).ids
