"""Text out of tokens as they come: whole characters only, and an end at a stop string."""

from collections.abc import Sequence

from vcjax.foundation.errors import UserError
from vcjax.text.tokenizer import Tokenizer

MOST_STOPS = 16
_UNFINISHED = "\ufffd"
"""What the bytes of half a character decode to."""


class Decoder:
    """The text of one continuation.

    A stop string ends the text before itself, wherever tokens part it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        """Raises: UserError for an empty stop string, or more than MOST_STOPS."""
        if "" in stop:
            raise UserError("stop: a stop string is empty")
        if len(stop) > MOST_STOPS:
            raise UserError(f"stop: {len(stop)} strings; at most {MOST_STOPS} are taken")
        self.stop, self.stopped, self.text = tuple(stop), False, ""
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
        longest = max(map(len, self.stop), default=0)
        start = max(0, len(self.text) - longest + 1)
        self.text += piece
        places = [place for one in self.stop if (place := self.text.find(one, start)) >= 0]
        if places:
            self.text, self.stopped = self.text[: min(places)], True

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
