"""Encoding with and without special tokens, from one tokenizer, without shared switches.

A `tokenizers.Tokenizer` has one mutable flag for whether special tokens are parsed. A flag
that two threads share is a hole through which a user's text could become control tokens, so each
way of encoding has its own copy of the tokenizer, set once.
"""

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, NoReturn

import numpy as np
import tokenizers
from jaxtyping import Bool, Int32

from vcjax.core.errors import UserError
from vcjax.text.marks import new_mark

_CACHED_WORDS = 100_000
"""Words whose tokens are remembered. The library's 10,000 are few for a corpus, and a cache that is
full takes no more; with these a corpus takes a tenth less time, and 150 MB more."""


class Token(NamedTuple):
    """A token id and the half-open span of characters it came from."""

    id: int
    start: int
    end: int


class Encoder:
    """Encodes text to ids; adds no BOS or EOS, truncates nothing, pads nothing."""

    def __init__(self, backend: tokenizers.Tokenizer, special_ids: frozenset[int]):
        """`special_ids`: ids that plain text must never give (so without the unknown token's)."""
        self._special_ids = special_ids
        self._parsing = copy.deepcopy(backend)
        self._parsing.no_truncation()
        self._parsing.no_padding()
        # A byte-level post-processor may trim spaces from offsets, which would move spans.
        self._parsing.post_processor = None  # type: ignore[assignment]
        self._parsing.encode_special_tokens = False

    def parsed(self, text: str) -> list[Token]:
        """Encodes text in which the special tokens' strings are special tokens."""
        encoding = self._parsing.encode(text, add_special_tokens=False)
        return [Token(id, *span) for id, span in zip(encoding.ids, encoding.offsets, strict=True)]

    def plain(self, pieces: list[str]) -> list[list[int]]:
        """Encodes the consecutive `pieces` of one text, one list of ids each, none special.

        No token spans two pieces. Positions stay those of one text: a tokenizer that puts a space
        before a text puts none before its second piece. Raises UserError where the vocabulary
        gives a special token's id for plain text.
        """
        backend, breaker = self._plain
        breaker_id = backend.token_to_id(breaker)
        encoded: list[list[int]] = [[]]
        for id in backend.encode(breaker.join(pieces), add_special_tokens=False).ids:
            if id == breaker_id:
                encoded.append([])
            elif id in self._special_ids:
                self._refuse(backend, id)
            else:
                encoded[-1].append(id)
        return encoded

    def plain_texts(self, texts: Sequence[str]) -> list[Int32[np.ndarray, " tokens"]]:
        """Encodes texts that have nothing to do with each other, as `plain` encodes each alone.

        On all cores at once, which leave other Python threads running.
        """
        backend, _ = self._plain
        encoded = backend.encode_batch_fast(list(texts), add_special_tokens=False)
        ids = [np.asarray(encoding.ids, np.int32) for encoding in encoded]
        for each in ids:
            for id in each[self._special[each]]:
                self._refuse(backend, int(id))
        return ids

    @cached_property
    def _special(self) -> Bool[np.ndarray, " vocabulary"]:
        """Whether an id is one that plain text must never give."""
        found = np.zeros(max(self._plain[0].get_vocab().values()) + 1, np.bool_)
        found[sorted(self._special_ids)] = True
        return found

    @cached_property
    def _plain(self) -> tuple[tokenizers.Tokenizer, str]:
        """A tokenizer without special tokens, and a string that breaks what it encodes."""
        breaker = new_mark()
        backend = copy.deepcopy(self._parsing)
        backend.encode_special_tokens = True
        backend.model._resize_cache(_CACHED_WORDS)
        # An added token that isn't special is still split out of the text, wherever it is.
        backend.add_tokens([tokenizers.AddedToken(breaker, special=False, normalized=False)])
        return backend, breaker

    def _refuse(self, backend: tokenizers.Tokenizer, id: int) -> NoReturn:
        token = backend.id_to_token(id)
        raise UserError(
            f"this tokenizer gives the special token {token!r} for plain text; "
            "take the string out of the text"
        )
