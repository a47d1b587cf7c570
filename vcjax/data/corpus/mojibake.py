"""Mojibake: text that was decoded with another encoding than it was written in.

What can be undone without a guess is repaired; the rest is measured, so that a step can remove it.

    UTF-8 read as Windows-1252 or Latin-1     â€™ Ã© ä¸­æ–‡         repaired
    GB 18030 read as Latin-1                  ÄãºÃ£¬ÊÀ½ç            repaired
    UTF-8 read as GB 18030                    涓枃鏂囨湰           repaired where no byte is lost
    bytes lost                                � 锟斤拷 烫烫烫       measured

A single pair such as `é »` may be French, so that the rules ask for two Chinese characters in a
row, or for a lead byte that no word ends with. The idea of decoding a match backwards is that of
ftfy (Speer, 2019), which is tuned for European languages and reads 1 MB/s.
"""

import re
from collections.abc import Iterable
from itertools import product

from vcjax.text.language import HAN

_LEAST_MARKS, _LEAST_POSSIBLE = 3, 0.95
"""Of characters that only UTF-8 read as GB 18030 has many of, in a line; and the share of its Han
characters that it can have at all. It is 0.3 in Chinese prose."""


def _windows(byte: int) -> str:
    """The character of a byte in Windows-1252, whose five undefined bytes are control characters
    of Latin-1."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


# By character: a reader has made either Latin-1's or Windows-1252's of a byte.
_BYTE = {chr(byte): byte for byte in range(0x80, 0x100)}
_BYTE |= {_windows(byte): byte for byte in range(0x80, 0x100)}


def _class(first: int, last: int) -> str:
    return f"[{''.join(re.escape(c) for c, byte in _BYTE.items() if first <= byte <= last)}]"


_ANY = _class(0x80, 0xBF)  # a continuation byte
# U+0080 to U+00FF; U+2000 to U+27FF (quotes, dashes, arrows); CJK punctuation and kana; full-width
# forms and the byte order mark; emoji.
_SURE = (
    f"Ã{_ANY}|Â[\xa0-\xbf]|â{_class(0x80, 0x9F)}{_ANY}|ã{_class(0x80, 0x83)}{_ANY}"
    f"|ï[¼½]{_ANY}|ï»¿|ð{_class(0x9F, 0x9F)}{_ANY}{{2}}"
)
_HAN_BYTES = f"[ä-é]{_ANY}{{2}}"
_UTF8_AS_WESTERN = re.compile(f"(?:{_SURE}|{_HAN_BYTES}){{2,}}|{_SURE}")
_FIRST_TWO = re.compile(f"[ÂÃâ-éïð]{_ANY}")  # of them; several times as fast to look for
_GB_AS_LATIN = re.compile("[\xa1-\xfe]{6,}")
_NOT_CHINESE = re.compile(f"[^\u3000-\u303f\uff00-\uff65{HAN.pattern[1:-1]}]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def _as_gb(leads: Iterable[int], trails: Iterable[int]) -> str:
    return "".join(bytes(pair).decode("gbk", "ignore") for pair in product(leads, trails))


# What GB 18030 makes of bytes of Chinese in UTF-8, in which not all bytes occur.
_BYTES = (*range(0x80, 0xC0), *range(0xE2, 0xEA), 0xEF)
_POSSIBLE = re.compile(f"[{_as_gb(_BYTES, _BYTES)}]")
# Of the two bytes with which a character begins: those that GBK added to GB 2312, which simplified
# text doesn't have and traditional text has few of (`鋼`); and the beginnings of punctuation.
_MARK = re.compile(f"[{_as_gb(range(0xE4, 0xEA), range(0x80, 0xA1))}鈥銆锛]")
_LOST = re.compile("\ufffd|锟斤拷|烫{3,}|屯{3,}")
_MAY_BE_LOST = re.compile("[\ufffd锟烫屯]")


def repair(text: str) -> tuple[str, int]:
    """Returns the text with what can be decoded anew, and how many stretches of it were."""
    if text.isascii():
        return text, 0
    repaired = 0

    def decoded(match: re.Match[str]) -> str:
        nonlocal repaired
        new = _decoded(match.group())
        repaired += new != match.group()
        return new

    text = _GB_AS_LATIN.sub(decoded, text)
    if _FIRST_TWO.search(text):
        text = _UTF8_AS_WESTERN.sub(decoded, text)
    if _MARK.search(text):
        lines = text.split("\n")
        read = (_NOT_ASCII.sub(decoded, line) if _is_utf8_as_gb(line) else line for line in lines)
        text = "\n".join(read)
    return text, repaired


def unreadable_share(text: str) -> float:
    """The share, 0 to 1, of characters that stand for lost or wrongly decoded bytes."""
    if text.isascii():
        return 0.0
    unreadable = 0
    if _MARK.search(text):
        lines = [line for line in text.split("\n") if _is_utf8_as_gb(line)]
        unreadable = sum(map(len, lines))
    if _MAY_BE_LOST.search(text):
        unreadable = max(unreadable, sum(map(len, _LOST.findall(text))))
    return unreadable / len(text)


def _is_utf8_as_gb(line: str) -> bool:
    if len(_MARK.findall(line)) < _LEAST_MARKS:
        return False
    return len(_POSSIBLE.findall(line)) >= _LEAST_POSSIBLE * len(HAN.findall(line))


def _decoded(text: str) -> str:
    """What a stretch of mojibake was before, or itself where no decoding is certain."""
    if all(c in _BYTE for c in text):
        read = bytes(_BYTE[c] for c in text)
        try:
            return read.decode("utf-8")
        except UnicodeDecodeError:
            # With an odd byte it may begin in the middle of a character.
            new = read.decode("gb18030", "replace")
            return text if _NOT_CHINESE.search(new) else new
    try:
        return text.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return text
