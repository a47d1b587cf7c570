"""Text out of tokens as they come: whole characters only, and an end at a stop string."""

from collections.abc import Sequence

from vcjax.core.errors import UserError
from vcjax.text.tokenizer import Tokenizer

MOST_STOPS = 16
LONGEST_STOP = 1000
"""Characters. Each token's text is compared with every beginning of every stop string."""
_UNFINISHED = "\ufffd"
"""What the bytes of half a character decode to."""


class Decoder:
    """The text of one continuation.

    A stop string ends the text before itself, wherever tokens part it. Of several the first is the
    one that is complete first; of those that are complete with the same character, the one that
    stands first in `stop`: `平` and `a平` cut `a平a` to `a`, while `a平` and `平` leave nothing.
    A stop string that is complete before `min_tokens` tokens is ordinary text.

    Both rules are vLLM's (`vllm/v1/engine/detokenizer.py`; pull requests 49391 and 22014), but for
    one token: there the token after `min_tokens` is the first that may end the text, here it is the
    last of them, which leaves as many tokens as an EOS token does.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), min_tokens: int = 0) -> None:
        """Raises: UserError for a stop string that is empty or longer than LONGEST_STOP, or for
        more than MOST_STOPS."""
        if "" in stop:
            raise UserError("stop: a stop string is empty")
        if len(stop) > MOST_STOPS:
            raise UserError(f"stop: {len(stop)} strings; at most {MOST_STOPS} are taken")
        longest = max(map(len, stop), default=0)
        if longest > LONGEST_STOP:
            raise UserError(
                f"stop: a stop string of {longest} characters; at most {LONGEST_STOP} are taken"
            )
        self.stop, self.stopped, self.text = tuple(stop), False, ""
        self.min_tokens = min_tokens
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        # The text of the tokens before `_told` is in `text`; those from `_context` on are decoded
        # again with the next ones, as what a token decodes to may hang on its neighbour.
        self._context = self._told = 0
        self._taken = 0

    def accept(self, token: int) -> bool:
        """Adds a token; True once a stop string has come."""
        self._tokens.append(token)
        before, now = self._decode(self._told), self._decode(len(self._tokens))
        if not now.endswith(_UNFINISHED):
            self._context, self._told = self._told, len(self._tokens)
            self._add(now[len(before) :])
        return self.stopped

    def take(self) -> str:
        """The text that has come since the last call and is sure to stay."""
        held = 0 if self.stopped else self._held()
        return self._release(len(self.text) - held)

    def finish(self) -> str:
        """The rest of the text: no token follows. Once more it has nothing to add."""
        before, now = self._decode(self._told), self._decode(len(self._tokens))
        self._told = len(self._tokens)
        if not self.stopped:
            self._add(now[len(before) :])
        return self._release(len(self.text))

    def _decode(self, end: int) -> str:
        return self._tokenizer.decode(self._tokens[self._context : end])

    def _add(self, piece: str) -> None:
        before = len(self.text)
        self.text += piece
        if len(self._tokens) < self.min_tokens:
            return
        # Each is looked for only where its last character is new.
        found = [
            (start + len(one), start)
            for one in self.stop
            if (start := self.text.find(one, max(0, before - len(one) + 1))) >= 0
        ]
        if found:
            _, start = min(found, key=lambda each: each[0])  # the first of equals
            self.text, self.stopped = self.text[:start], True

    def _held(self) -> int:
        """Length of the longest end of the text that may be the beginning of a stop string."""
        return max(
            (
                size
                for one in self.stop
                for size in range(1, min(len(one), len(self.text) + 1))
                if self.text.endswith(one[:size])
            ),
            default=0,
        )

    def _release(self, end: int) -> str:
        piece = self.text[self._taken : end]
        self._taken = max(self._taken, end)
        return piece
