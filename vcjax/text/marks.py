"""Strings that nobody can guess, which therefore stand in no text: marks to find places again.

A text may contain any character of Unicode, so that no fixed character or string can be kept for
use inside the program. These are drawn at random (Python's `secrets`) from a private-use plane, 128
bits of them, and never leave the process: nothing that is written depends on which ones they are.
"""

import secrets

_PLANE = 0xF0000  # 65,534 private-use characters, so 16 bits each
_CHARACTERS = 8


def new_mark(*texts: str) -> str:
    """A string that is in none of `texts`."""
    while True:
        mark = "".join(chr(_PLANE + secrets.randbelow(0xFFFE)) for _ in range(_CHARACTERS))
        if not any(mark in text for text in texts):
            return mark
