"""Text from tokens as they come: whole characters only, and an end at a stop string."""

from collections.abc import Sequence

from vcjax.core.errors import UserError
from vcjax.text.tokenizer import Tokenizer

MAX_STOPS = 16
MAX_STOP_LENGTH = 1000
"""Characters."""
_UNFINISHED = "\ufffd"
"""What the bytes of half a character decode to."""
_LONGEST_RUN = 16
"""Tokens without a whole character at their end that are decoded together. A character has four
bytes at most, so a longer run is no text; decoded again with each token, it would cost the square
of its length, which a `logit_bias` can make the longest there is."""


class _Match:
    """How much of one stop string the text ends with, a character at a time.

    The work for a character is constant on average, whatever the string (Knuth, Morris and Pratt,
    SIAM Journal on Computing 6, 1977), and there is none before the first one.

    Attributes:
      size: length of the longest suffix of the text that is a prefix of the stop string.
    """

    def __init__(self, stop: str) -> None:
        self.stop, self.size = stop, 0
        # For each length of a prefix, that of its longest suffix that is a shorter prefix; of the
        # lengths that the text has reached: all of them would be two million steps for 128 choices
        # with 16 strings of 1,000 characters, before the first token and in everybody's way.
        self._shorter = [0, 0]

    @property
    def is_complete(self) -> bool:
        """Whether the text ends with the whole stop string."""
        return self.size == len(self.stop)

    @property
    def withheld(self) -> int:
        """`size`, but of a whole stop string that was ordinary text that of a part of it."""
        return self._shorter[self.size] if self.is_complete else self.size

    def accept(self, character: str) -> None:
        """Advances by one character of the text."""
        self.size = self._extended(self.withheld, character)
        if self.size == len(self._shorter):  # a character longer than ever
            self._shorter.append(self._extended(self._shorter[-1], self.stop[self.size - 1]))

    def _extended(self, size: int, character: str) -> int:
        while size and self.stop[size] != character:
            size = self._shorter[size]
        return size + (self.stop[size] == character)


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
        self._matches, self._min_tokens = [_Match(each) for each in stop], min_tokens
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
        elif len(self._tokens) - self._decoded >= _LONGEST_RUN:
            self._add_run(before, now)
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

    def _add_run(self, before: str, now: str) -> None:
        """Adds a run of tokens without a whole character at its end, but for the last ones."""
        # What a later token may complete has three bytes at most, so it is in the last three
        # tokens; before them the run may have to be cut at the start of a character.
        last = len(self._tokens)
        ends = range(last - 3, last - 7, -1)
        end = next((end for end in ends if now.startswith(self._decode(end))), ends[0])
        settled = self._decode(end)
        self._context, self._decoded = self._decoded, end
        self._add(settled[len(before) :])

    def _add(self, piece: str) -> None:
        if not self._matches:
            self.text += piece
            return
        before, may_stop = len(self.text), len(self._tokens) >= self._min_tokens
        self.text += piece
        for end, character in enumerate(piece, start=before + 1):
            for match in self._matches:
                match.accept(character)
            complete = next((each for each in self._matches if each.is_complete), None)
            if complete is not None and may_stop:
                self.text, self.stopped = self.text[: end - len(complete.stop)], True
                return

    def _withheld(self) -> int:
        """Length of the longest suffix of the text that is a part of a stop string's start."""
        return max((match.withheld for match in self._matches), default=0)

    def _release(self, end: int) -> str:
        piece = self.text[self._released : end]
        self._released = max(self._released, end)
        return piece
