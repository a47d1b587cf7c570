"""Text from tokens as they come: whole characters only, and an end at a stop string."""

from collections.abc import Sequence

from vcjax.core.errors import UserError
from vcjax.text.tokenizer import Tokenizer

MAX_STOPS = 16
MAX_STOP_LENGTH = 1000
"""Characters. Each token's text is compared with every prefix of every stop string."""
_UNFINISHED = "\ufffd"
"""What the bytes of half a character decode to."""


class Detokenizer:
    """The text of one continuation.

    A stop string ends the text before itself, also where it spans tokens. If several match, the
    first is the one that is complete first; of those that are complete with the same character, the
    one that comes first in `stop`: `平` and `a平` cut `a平a` to `a`, while `a平` and `平` leave
    nothing. A stop string that is complete before `min_tokens` tokens is ordinary text.

    Both rules are vLLM's (`vllm/v1/engine/detokenizer.py`; pull requests 49391 and 22014), but for
    one token: there the token after `min_tokens` is the first that may end the text, here it is the
    last of them, which leaves as many tokens as an EOS token does.

    Attributes:
      text: the text so far; a part of it may still turn out to be a stop string.
      stopped: whether a stop string has ended the text.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), min_tokens: int = 0) -> None:
        """Raises: UserError for a stop string that is empty or longer than MAX_STOP_LENGTH, or for
        more than MAX_STOPS."""
        if "" in stop:
            raise UserError("stop: a stop string is empty")
        if len(stop) > MAX_STOPS:
            raise UserError(f"stop: {len(stop)} strings; at most {MAX_STOPS} are accepted")
        longest = max(map(len, stop), default=0)
        if longest > MAX_STOP_LENGTH:
            raise UserError(
                f"stop: a stop string of {longest} characters; at most {MAX_STOP_LENGTH} are "
                "accepted"
            )
        self.text, self.stopped = "", False
        self._stop, self._min_tokens = tuple(stop), min_tokens
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        # The text of the tokens before `_decoded` is in `text`. Those from `_context` on are
        # decoded again with the next ones: what a token decodes to may depend on its neighbour.
        self._context = self._decoded = 0
        self._released = 0

    def accept(self, token: int) -> bool:
        """Adds a token, and returns True once a stop string is complete."""
        self._tokens.append(token)
        before, now = self._decode(self._decoded), self._decode(len(self._tokens))
        if not now.endswith(_UNFINISHED):
            self._context, self._decoded = self._decoded, len(self._tokens)
            self._add(now[len(before) :])
        return self.stopped

    def take(self) -> str:
        """The text since the last call that no later token can change."""
        withheld = 0 if self.stopped else self._withheld()
        return self._release(len(self.text) - withheld)

    def finish(self) -> str:
        """The rest of the text: no token follows. A second call returns nothing."""
        before, now = self._decode(self._decoded), self._decode(len(self._tokens))
        self._decoded = len(self._tokens)
        if not self.stopped:
            self._add(now[len(before) :])
        return self._release(len(self.text))

    def _decode(self, end: int) -> str:
        return self._tokenizer.decode(self._tokens[self._context : end])

    def _add(self, piece: str) -> None:
        before = len(self.text)
        self.text += piece
        if len(self._tokens) < self._min_tokens:
            return
        # Each is searched for only where its last character is new.
        found = [
            (start + len(stop), start)
            for stop in self._stop
            if (start := self.text.find(stop, max(0, before - len(stop) + 1))) >= 0
        ]
        if found:
            _, start = min(found, key=lambda match: match[0])  # the first of equals
            self.text, self.stopped = self.text[:start], True

    def _withheld(self) -> int:
        """Length of the longest suffix of the text that is a prefix of a stop string."""
        return max(
            (
                size
                for stop in self._stop
                for size in range(1, min(len(stop), len(self.text) + 1))
                if self.text.endswith(stop[:size])
            ),
            default=0,
        )

    def _release(self, end: int) -> str:
        piece = self.text[self._released : end]
        self._released = max(self._released, end)
        return piece
