"""A conversation with one model, which keeps within the model's context."""

from collections.abc import Callable, Generator
from dataclasses import replace

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import TextEngine, encode_prompt


class Dialogue:
    """What has been said so far. Answer i draws from a seed derived from (`sampling.seed`, i)."""

    def __init__(
        self,
        text: TextEngine,
        sampling: SamplingParams,
        system: str = "",
        on_forget: Callable[[], None] = lambda: None,
    ) -> None:
        """Args:
        system: the message that stays at the beginning; empty is none.
        on_forget: told when the oldest exchanges are no longer told to the model, once.
        """
        self._text, self._sampling, self._system = text, sampling, system
        self._on_forget = on_forget
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        self._turns: list[dict[str, str]] = []
        self._asked, self._forgot = 0, False

    def ask(self, prompt: str) -> Generator[str, None, None]:
        """Yields an answer in pieces; one that the caller breaks off counts as far as it came.

        Raises:
          UserError: the prompt doesn't fit the context even alone.
        """
        self._turns.append({"role": "user", "content": prompt})
        seed = derive_seed(self._sampling.seed, self._asked)
        self._asked += 1
        answer = ""
        try:
            messages = self._fitting()
            for piece in self._text.stream(messages, replace(self._sampling, seed=seed)):
                answer += piece
                yield piece
        finally:
            if answer.strip():
                self._turns.append({"role": "assistant", "content": answer})
            else:  # which no chat template renders
                self._turns.pop()

    def _fitting(self) -> list[dict[str, str]]:
        """The messages, after forgetting as many of the oldest exchanges as need be."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        context, new = self._text.engine.config.max_position, self._sampling.max_tokens
        tokens = 0
        for start in range(0, len(self._turns), 2):
            messages = [*system, *self._turns[start:]]
            tokens = len(encode_prompt(self._text.tokenizer, messages))
            if tokens + new <= context:
                del self._turns[:start]
                if start and not self._forgot:
                    self._forgot = True
                    self._on_forget()
                return messages
        raise UserError(
            f"the prompt: {tokens} tokens and {new} new ones don't fit the model's context of "
            f"{context}"
        )
