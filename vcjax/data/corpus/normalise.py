"""Normalised text: one way to write each character, each space and each line end."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.mojibake import repair, unreadable_share

_LINE_END = re.compile("[\v\f\x1c-\x1e\x85\u2028\u2029]")
# Controls, soft hyphens, zero-width spaces, marks of direction, byte order marks, noncharacters.
# Joiners (U+200C, U+200D) belong to emoji and to scripts that need them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
_FULL_WIDTH = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]+")
_HALF = {code: code - 0xFEE0 for code in range(0xFF10, 0xFF5B)}
_OTHER_SPACE = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
# Each begins with a fixed string, which is ten times as fast to look for as ` {2,}`.
_SPACES = re.compile("   *")
_EMPTY_LINES = re.compile("\n\n\n+")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+\n")


@dataclass(frozen=True)
class NormaliseSettings:
    """How text is normalised. Line ends, invisible characters and NFC are always.

    Attributes:
      repair_mojibake: whether wrongly decoded text is decoded anew where that is certain.
      most_unreadable: the largest share of characters that stand for lost bytes, 0 to 1; documents
        above it are removed as mojibake. 0.01 is ours: one in a hundred is no longer a slip. At 1
        none is.
      half_width: whether full-width Latin letters and digits become ASCII; punctuation stays.
      collapse_spaces: whether a run of spaces becomes one, and lines begin and end without; off
        for code and tables. Other kinds of space become the plain one in either case.
    """

    repair_mojibake: bool = True
    most_unreadable: float = 0.01
    half_width: bool = True
    collapse_spaces: bool = True


class Normalise:
    """The step; counts documents that it changed, and those in which it repaired mojibake."""

    name: ClassVar[str] = "normalise"
    changes: ClassVar[bool] = True
    Settings: ClassVar[type] = NormaliseSettings

    def __init__(self, settings: NormaliseSettings) -> None:
        self._settings = settings

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        text, repaired = normalise(document.text, self._settings)
        if (share := unreadable_share(text)) > self._settings.most_unreadable:
            return Removal(self.name, "mojibake", document, f"{share:.1%} of its characters")
        if not text:
            return Removal(self.name, "empty", document)
        if repaired:
            counts["mojibake repaired"] += 1
        if text == document.text:
            return document
        counts["changed"] += 1
        return replace(document, text=text)


def normalise(text: str, settings: NormaliseSettings | None = None) -> tuple[str, int]:
    """Returns the normalised text and how many stretches of mojibake were repaired in it.

    What is normalised stays as it is: a pass over the characters may bring some together that
    another pass has something to do with (`A`, a zero-width space, a combining accent), so that
    passes follow until one changes nothing. Spaces come last, which brings no two together.
    """
    settings = settings or NormaliseSettings()
    repaired = 0
    while True:
        new, count = _characters(text, settings)
        if new == text:
            break
        text, repaired = new, repaired + count
    if settings.collapse_spaces:
        text = _SPACES.sub(" ", text.replace("\t", " "))
        text = text.replace(" \n", "\n").replace("\n ", "\n").strip(" \n")
    else:
        text = _TRAILING.sub("\n", text).rstrip(" \t\n").lstrip("\n")
    return _EMPTY_LINES.sub("\n\n", text), repaired


def _characters(text: str, settings: NormaliseSettings) -> tuple[str, int]:
    # Before control characters and spaces go: some of them are bytes of a character.
    text, repaired = repair(text) if settings.repair_mojibake else (text, 0)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", _LINE_END.sub("\n", text))
    if text.isascii():
        return text, repaired
    if settings.half_width:
        text = _FULL_WIDTH.sub(lambda match: match.group().translate(_HALF), text)
    # NFC and not NFKC: compatibility forms such as superscripts and units mean something in a text.
    return unicodedata.normalize("NFC", _OTHER_SPACE.sub(" ", text)), repaired
