"""JSON-schema constraints: which tokens may come next, decided by `llguidance` on the host."""

import json
from functools import lru_cache
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
from jaxtyping import Int32

from vcjax.foundation.errors import UserError
from vcjax.text.tokenizer import Tokenizer


class Constraint:
    """The state of one constrained generation."""

    def __init__(self, matcher: llguidance.LLMatcher, words: int) -> None:
        self._matcher, self._words = matcher, words

    def mask(self) -> Int32[np.ndarray, " words"]:
        """Bit mask of the tokens that may come next, 32 a word."""
        bits = np.zeros((self._words,), np.int32)
        self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        self._raise_fault()
        return bits

    def accept(self, token: int) -> bool:
        """Moves past a token that `mask` allowed; True when nothing more may follow."""
        self._matcher.consume_token(token)
        self._raise_fault()
        return self._matcher.is_stopped()

    def _raise_fault(self) -> None:
        if self._matcher.is_error():
            raise RuntimeError(f"llguidance: {self._matcher.get_error()}")


class Constraints:
    """Makes constraints for one tokenizer and one vocabulary size."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_ids: tuple[int, ...]) -> None:
        """`vocab_size` is the model's, which may be padded beyond the tokenizer's."""
        self._words = (vocab_size + 31) // 32
        self._tokenizer = llguidance.hf.from_tokenizer(
            tokenizer.backend, n_vocab=vocab_size, eos_token=list(eos_ids) or None
        )
        self._grammar = lru_cache(maxsize=64)(_grammar)

    def json(self, schema: dict[str, Any]) -> Constraint:
        """A constraint to JSON of a schema: compact, with the properties in the schema's order.

        Raises:
          UserError: the schema can't be compiled.
        """
        grammar = self._grammar(json.dumps(schema, ensure_ascii=False))
        matcher = llguidance.LLMatcher(self._tokenizer, grammar)
        if matcher.is_error():
            raise UserError(f"JSON schema can't be compiled: {matcher.get_error()}")
        return Constraint(matcher, self._words)


def _grammar(schema: str) -> str:
    try:
        return llguidance.LLMatcher.grammar_from_json_schema(
            schema, overrides={"whitespace_flexible": False}
        )
    except ValueError as error:
        raise UserError(f"JSON schema can't be compiled: {error}") from None
