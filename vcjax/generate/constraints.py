"""What a text must match: a JSON schema, a regex or a list of choices; `llguidance` on the host."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
from jaxtyping import UInt32

from vcjax.core.errors import UserError
from vcjax.generate.requests import ConstraintError
from vcjax.text.tokenizer import Tokenizer

_KEPT = 4
"""Constraints that are kept to be copied."""
# A fifth of the usual fuel for a regex: (a{1000}){1000} would delay all requests for seconds
# before it runs out. Thousands of choices or fields still fit.
_LIMITS = llguidance.LLParserLimits(initial_lexer_fuel=200_000, verbose_errors=False)


class Constraint:
    """The state of one constrained generation."""

    def __init__(self, matcher: llguidance.LLMatcher, words: int) -> None:
        self._matcher = matcher
        self._bits = np.zeros((words,), np.uint32)
        self._has_mask = False  # whether the bits are those of the next token

    def copy(self) -> "Constraint":
        """Another one in the same state."""
        copy = Constraint(self._matcher.deep_copy(), len(self._bits))
        copy._bits[:], copy._has_mask = self._bits, self._has_mask
        return copy

    def mask(self) -> UInt32[np.ndarray, " words"]:
        """Bit mask of the tokens that may come next, 32 a word; the next token's overwrites it.

        EOS is among them where the text may end.

        Raises:
          ConstraintError: the mask takes more work than `llguidance` allows.
        """
        # The first one may take 30 ms: it is worked out where the constraint is made, and not again
        # in the engine's thread.
        if not self._has_mask:
            # Into our array: the safe call makes a new one for each token.
            self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
            self._check()
            self._has_mask = True
        return self._bits

    def accept(self, token: int) -> bool:
        """Advances by a token that `mask` allowed, and returns True when nothing more may follow.

        Raises:
          ConstraintError: as `mask`, or the token wasn't allowed.
        """
        self._has_mask = False
        self._matcher.consume_token(token)
        self._check()
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ConstraintError(_reason(self._matcher.get_error()))


class Constraints:
    """Makes constraints for one tokenizer and one vocabulary size."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, eos_ids: tuple[int, ...]) -> None:
        """`vocab_size` is the model's, which may be padded beyond the tokenizer's.

        Raises:
          UserError: `llguidance` can't find out the bytes of this tokenizer's tokens.
        """
        self._words = (vocab_size + 31) // 32
        # Several answers to one prompt have the same constraint, and one may take 100 ms to make.
        self._fresh = lru_cache(_KEPT)(self._make)
        # Some configs name EOS ids that the model's vocabulary doesn't have.
        self._ends = [token for token in eos_ids if token < vocab_size]
        try:
            self._tokenizer = llguidance.hf.from_tokenizer(
                tokenizer.backend, n_vocab=vocab_size, eos_token=self._ends or None
            )
        except ValueError as error:
            raise UserError(
                f"texts can't be constrained with this tokenizer ({_reason(str(error))})"
            ) from None

    def json(self, schema: dict[str, Any]) -> Constraint:
        """Compact JSON of a schema, with the properties in the schema's order.

        Raises:
          UserError: the schema can't be compiled.
        """
        what = "JSON schema"
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(schema), overrides={"whitespace_flexible": False}
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise _uncompiled(what, str(error)) from None
        return self._start(what, grammar)

    def regex(self, pattern: str) -> Constraint:
        """What a regular expression, in Rust's syntax, matches as a whole.

        Digits (`\\d`) are 0 to 9 only, as in JSON Schema; the other classes are Unicode's.

        Raises:
          UserError: the expression can't be compiled.
        """
        try:
            ascii_digits = llguidance.regex_to_lark(pattern, "d")
            grammar = llguidance.LLMatcher.grammar_from_regex(ascii_digits)
        except UnicodeEncodeError as error:
            raise _uncompiled("regex", str(error)) from None
        return self._start("regex", grammar)

    def choices(self, choices: Sequence[str]) -> Constraint:
        """One of several texts.

        Raises:
          UserError: there are none, one is empty, or one isn't Unicode.
        """
        if isinstance(choices, str) or not choices or not all(choices):
            raise UserError(f"choices must be a list of texts that aren't empty, not {choices!r}")
        # Each character by its code point, so that none is syntax.
        escaped = ["".join(f"\\x{{{ord(c):x}}}" for c in choice) for choice in choices]
        return self._start("choices", llguidance.LLMatcher.grammar_from_regex("|".join(escaped)))

    def grammar(self, grammar: str) -> Constraint:
        """What a grammar describes; see `vcjax.generate.tool_grammar`.

        Raises:
          UserError: it can't be compiled, such as for a schema of a tool's parameters.
        """
        return self._start("tools", grammar)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token, which may be a part of a character; the name of a special token."""
        return self._tokenizer.decode_bytes([token])

    def _start(self, what: str, grammar: str) -> Constraint:
        return self._fresh(what, grammar).copy()

    def _make(self, what: str, grammar: str) -> Constraint:
        if not self._ends:
            raise UserError(
                f"{what}: the model has no EOS token, by which a constrained text can end; "
                "name one as eos_token_id in its generation_config.json"
            )
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            raise _uncompiled(what, matcher.get_error())
        constraint = Constraint(matcher, self._words)
        try:
            constraint.mask()
        except ConstraintError as error:  # such as a schema that refers to itself alone
            raise _uncompiled(what, f"no text can begin ({error})") from None
        return constraint


def _uncompiled(what: str, message: str) -> UserError:
    return UserError(f"{what} can't be compiled: {_reason(message)}")


def _reason(message: str) -> str:
    """The line of a message of `llguidance`, or of its regex engine within, that has the reason."""
    lines = message.strip().splitlines() or [""]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines)[0]
