"""The text layer on the engine: prompts and conversations in, text out."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import cast

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.generate.constraints import Constraint, Constraints
from vcjax.generate.detokenizer import Detokenizer
from vcjax.generate.engine import Engine
from vcjax.generate.fleet import Fleet
from vcjax.generate.requests import Request, Result, SamplingParams, describe_context
from vcjax.text.rendering import render_prompt
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.model import LoadedModel

Conversation = Sequence[dict[str, str]]
Context = str | Conversation
"""A text, or a conversation that the assistant's turn follows."""
Prompt = Context | Sequence[int]


class TextEngine:
    """An engine with its model's tokenizer and chat template."""

    def __init__(self, loaded: LoadedModel, engine: Engine | Fleet) -> None:
        """`engine` runs the parameters of `loaded`."""
        self.tokenizer = loaded.require_tokenizer()
        self.engine, self.eos_ids = engine, loaded.eos_ids
        self.sampling_defaults = loaded.sampling_defaults
        self._constraints: Constraints | None = None

    def request(
        self,
        prompt: Prompt,
        sampling: SamplingParams,
        *,
        stop_ids: Sequence[int] = (),
        ignore_eos: bool = False,
    ) -> Request:
        """The engine's request for a prompt; see `encode_prompt`.

        Args:
          stop_ids: tokens that end the text as EOS does.
          ignore_eos: the model's EOS tokens don't end the text.

        Raises:
          UserError: it doesn't fit the model, or its constraint can't be compiled.
        """
        if ignore_eos and sampling.is_constrained:
            raise UserError("ignore_eos: the end of a text with a constraint is an EOS token")
        request = Request(
            prompt=encode_prompt(self.tokenizer, prompt),
            sampling=sampling,
            eos_ids=(*(() if ignore_eos else self.eos_ids), *stop_ids),
            stopping=self._detokenizer(sampling) if sampling.stop else None,
        )
        # Before the constraint, which takes the longest to make.
        self.engine.check(request)
        return replace(request, constraint=self._constraint(sampling))

    @property
    def constraints(self) -> Constraints:
        """Made on first use: to take the tokenizer apart takes a second for 50,000 tokens."""
        if self._constraints is None:
            vocab_size = self.engine.config.vocab_size
            self._constraints = Constraints(self.tokenizer, vocab_size, self.eos_ids)
        return self._constraints

    def text(self, request: Request, result: Result) -> str:
        """The text of a request's tokens, up to its stop string."""
        if isinstance(request.stopping, Detokenizer):
            request.stopping.finish()
            return request.stopping.text
        return self.tokenizer.decode(result.tokens)

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams,
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
        return [
            self.text(request, result) for request, result in zip(requests, results, strict=True)
        ]

    def stream(self, prompt: Prompt, sampling: SamplingParams) -> Iterator[str]:
        """Yields pieces of one continuation as they are made; see `Detokenizer.take`."""
        request, detokenizer = self.detokenized(self.request(prompt, sampling))
        for _ in self.engine.stream(request):
            if piece := detokenizer.take():
                yield piece
        if piece := detokenizer.finish():
            yield piece

    def detokenized(self, request: Request) -> tuple[Request, Detokenizer]:
        """A request whose text can be read while it runs, and the detokenizer that has it."""
        detokenizer = request.stopping
        if not isinstance(detokenizer, Detokenizer):
            detokenizer = self._detokenizer(request.sampling)
            request = replace(request, stopping=detokenizer)
        return request, detokenizer

    def _detokenizer(self, sampling: SamplingParams) -> Detokenizer:
        return Detokenizer(self.tokenizer, sampling.stop, sampling.min_tokens)

    def _constraint(self, sampling: SamplingParams) -> Constraint | None:
        if sampling.json_schema is not None:
            return self.constraints.json(sampling.json_schema)
        if sampling.regex is not None:
            return self.constraints.regex(sampling.regex)
        if sampling.grammar is not None:
            return self.constraints.grammar(sampling.grammar)
        if sampling.choices is not None:
            return self.constraints.choices(list(sampling.choices))
        return None


def encode_prompt(tokenizer: Tokenizer, prompt: Prompt) -> tuple[int, ...]:
    """Token ids to continue.

    Args:
      prompt: a text is encoded after BOS, where the tokenizer adds one; a conversation is rendered
        with the model's chat template, up to the assistant's turn; ids are taken unchanged.
    """
    if isinstance(prompt, str):
        bos = tokenizer.bos_id if tokenizer.adds_bos else None
        return (*(() if bos is None else (bos,)), *tokenizer.encode(prompt))
    if prompt and isinstance(prompt[0], int):
        return tuple(cast(Sequence[int], prompt))
    return render_prompt(tokenizer, cast(Conversation, prompt))


class Dialogue:
    """A conversation with one model that stays within the model's context.

    Answer i draws from a seed derived from (`sampling.seed`, i).
    """

    def __init__(
        self,
        text: TextEngine,
        sampling: SamplingParams,
        system: str = "",
        on_forget: Callable[[], None] = lambda: None,
    ) -> None:
        """Begins a conversation.

        Args:
          system: the system message, which is never forgotten; empty is none.
          on_forget: called once, when the model no longer gets the oldest exchanges.
        """
        self._text, self._sampling, self._system = text, sampling, system
        self._on_forget = on_forget
        self.reset()

    def reset(self) -> None:
        """Starts a new conversation."""
        self._turns: list[dict[str, str]] = []
        self._answers, self._forgot = 0, False

    def ask(self, prompt: str) -> Generator[str, None, None]:
        """Yields an answer in pieces; of one that the caller breaks off, what came is kept.

        Raises:
          UserError: the prompt doesn't fit the context even alone.
        """
        self._turns.append({"role": "user", "content": prompt})
        seed = derive_seed(self._sampling.seed, self._answers)
        self._answers += 1
        answer = ""
        try:
            messages = self._fitting()
            for piece in self._text.stream(messages, replace(self._sampling, seed=seed)):
                answer += piece
                yield piece
        finally:
            if answer.strip():
                self._turns.append({"role": "assistant", "content": answer})
            else:  # no chat template renders an empty answer
                self._turns.pop()

    def _fitting(self) -> list[dict[str, str]]:
        """The messages, without as many of the oldest exchanges as don't fit."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        engine, new = self._text.engine, self._sampling.max_tokens
        tokens = 0
        for start in range(0, len(self._turns), 2):
            messages = [*system, *self._turns[start:]]
            tokens = len(encode_prompt(self._text.tokenizer, messages))
            if tokens + new <= engine.context:
                del self._turns[:start]
                if start and not self._forgot:
                    self._forgot = True
                    self._on_forget()
                return messages
        raise UserError(
            f"the prompt: {tokens} tokens and {new} new ones don't fit "
            f"{describe_context(engine.context, engine.config)}"
        )
