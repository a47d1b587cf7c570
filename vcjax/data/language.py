"""Which language a text is in, guessed from its script."""

import re
from functools import cache

import numpy as np
from jaxtyping import Int, UInt8

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
KANA = re.compile(r"[\u3040-\u30ff]")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
LETTER = re.compile(r"[^\W\d_]")

SAMPLE = 4000  # characters looked at; enough for a share, and cheap on long documents
HAN_SHARE = 0.2  # Chinese prose about code or Latin names still has this share of Han letters

_SCRIPTS = (LETTER, HAN, KANA, LATIN)
_PLANE = 1 << 16
_ASCII_LETTER = re.compile("[A-Za-z]")


def guess_language(text: str) -> str:
    """Returns `zh`, `en` or `und` (BCP 47's *undetermined*) from the shares of scripts in `text`.

    Only Chinese and English are told apart: text in another Latin-script language is called `en`.
    Give the field `lang` where that matters. Japanese (Han among kana) is `und`.
    """
    sample = text[:SAMPLE]
    if sample.isascii():
        return "en" if _ASCII_LETTER.search(sample) else "und"
    letters, han, kana, latin = count_scripts(sample)
    if not letters:
        return "und"
    if han / letters >= HAN_SHARE:
        return "und" if kana / letters >= HAN_SHARE else "zh"
    return "en" if latin / letters >= 0.5 else "und"


def count_scripts(text: str) -> Int[np.ndarray, "4"]:
    """How many characters of a text are letters, Han, kana and Latin letters."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    table = _table()
    high = codes >= _PLANE
    if high.any():  # emoji, mostly; a table of all planes would be 17 times as large
        rest = [_classes(chr(code)) for code in codes[high]]
        classes = np.concatenate([table[codes[~high]], np.array(rest, np.uint8)])
    else:
        classes = table[codes]
    counts = np.bincount(classes, minlength=1 << len(_SCRIPTS))
    bits = np.arange(1 << len(_SCRIPTS))
    return np.array([counts[bits >> n & 1 == 1].sum() for n in range(len(_SCRIPTS))])


def _classes(character: str) -> int:
    """One bit for each of _SCRIPTS."""
    return sum(bool(script.match(character)) << n for n, script in enumerate(_SCRIPTS))


@cache
def _table() -> UInt8[np.ndarray, "65536"]:
    return np.array([_classes(chr(code)) for code in range(_PLANE)], np.uint8)
