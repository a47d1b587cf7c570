"""Which language a text is in: Chinese, English or another, by its script and by py3langid.

Four questions have a rule each:

- `guess_language`: in what language is this record, where nobody has stated it? From scripts alone,
  since a corpus has millions of records.
- `is_in_script`: is this answer in the script of the language that it should be in? It is the rule
  of a charter's check.
- `language_probabilities`: in what language is a text whose script doesn't show it? By
  py3langid.
- `is_in_language`: is this query or answer in that language and in no other? It asks py3langid too,
  since French is in English's script and Japanese has Chinese characters. `is_in_both_languages` is
  its counterpart for queries that mix the two on purpose.

The first counts letters by the ranges below, `is_in_script` by the names in Unicode's database;
they differ in how they count a few symbols, such as numerals that are letters.
"""

import re
import unicodedata
from collections import Counter
from functools import cache
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, UInt8

Language = Literal["en", "zh"]

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
# The block of the common characters alone, for bytes that may be no text at all.
COMMON_HAN = re.compile(r"[\u4e00-\u9fff]")
KANA = re.compile(r"[\u3040-\u30ff]")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
LETTER = re.compile(r"[^\W\d_]")

SAMPLE = 4000  # characters that a guess counts; enough for a share, and cheap on long documents
# Chinese prose about code or Latin names still has this share of Han letters.
LEAST_HAN_SHARE = 0.2
# An answer may have this share of names and terms in another script, and no more.
LEAST_SCRIPT_SHARE = 0.6

_SCRIPTS = (LETTER, HAN, KANA, LATIN)
_BITS = np.arange(1 << len(_SCRIPTS))[:, None] >> np.arange(len(_SCRIPTS)) & 1
_PLANE = 1 << 16
_ASCII_LETTER = re.compile("[A-Za-z]")

_CHINESE = ("zh", "wuu", "yue")  # they share their writing
# Below it a text is of another language, or of none. Of 670 English and 220 Chinese questions, most
# of under twelve words, none is below 0.1, and of 19 in other languages none is above 0.01.
LEAST_PROBABILITY = 0.05
# With fewer letters than these the identifier guesses, and the script alone decides.
_LEAST_LETTERS = {"en": 20, "zh": 4}
# A Chinese character has the information of about three letters.
_LEAST_OWN_SHARE = {"en": 0.5, "zh": 0.25}


def guess_language(text: str) -> str:
    """Returns `zh`, `en` or `und` (BCP 47's *undetermined*) from the shares of scripts in `text`.

    Only Chinese and English are distinguished: text in another Latin-script language is `en`.
    Give the field `lang` where that matters. Japanese (Han among kana) is `und`.
    """
    sample = text[:SAMPLE]
    if sample.isascii():
        return "en" if _ASCII_LETTER.search(sample) else "und"
    letters, han, kana, latin = count_scripts(sample)
    if not letters:
        return "und"
    if han / letters >= LEAST_HAN_SHARE:
        return "und" if kana / letters >= LEAST_HAN_SHARE else "zh"
    return "en" if latin / letters >= 0.5 else "und"


def language_probabilities(text: str) -> dict[str, float]:
    """The probability, 0 to 1, of each of py3langid's languages, the likeliest first.

    Keys are ISO 639 codes; the Chinese languages are one, `zh`. It reads 1.4 MB/s; a few hundred
    characters are enough for it (Lui and Baldwin, "langid.py", ACL 2012).
    """
    ranked = dict(_identifier().rank(text))
    chinese = sum(ranked.pop(own) for own in _CHINESE)
    return dict(sorted({**ranked, "zh": chinese}.items(), key=itemgetter(1), reverse=True))


def count_scripts(text: str) -> Int[np.ndarray, "4"]:
    """How many characters of a text are letters, Han, kana and Latin letters."""
    # One code a character; "surrogatepass", since half of a pair must not end a whole preparation.
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    table = _table()
    high = codes >= _PLANE
    if high.any():  # emoji, mostly; a table of all planes would be 17 times as large
        rest = [_classes(chr(code)) for code in codes[high]]
        classes = np.concatenate([table[codes[~high]], np.array(rest, np.uint8)])
    else:
        classes = table[codes]
    return np.bincount(classes, minlength=len(_BITS)) @ _BITS


def script_share(text: str, lang: Language) -> float:
    """The share, 0 to 1, of Latin letters (en) or Han characters (zh) among all letters."""
    scripts = Counter(unicodedata.name(c, "").split(" ")[0] for c in text if c.isalpha())
    return scripts[{"en": "LATIN", "zh": "CJK"}[lang]] / max(scripts.total(), 1)


def is_in_script(text: str, lang: Language, threshold: float = LEAST_SCRIPT_SHARE) -> bool:
    """Whether at least `threshold` of a text's letters are of the script of `lang`."""
    return script_share(text, lang) >= threshold


def is_in_language(text: str, lang: Language) -> bool:
    """Whether a text is written in `lang`; names and terms in the other script are allowed.

    The script separates Chinese from English; the identifier separates English from French and
    Chinese from Japanese.
    """
    if not is_in_script(text, lang):
        return False
    if len(LETTER.findall(text)) < _LEAST_LETTERS[lang]:
        return True
    return language_probabilities(text)[lang] >= LEAST_PROBABILITY


def is_in_both_languages(text: str, lang: Language) -> bool:
    """Whether a text is in Chinese and English at once, with enough of `lang`, and in no third."""
    letters, han, latin = (len(pattern.findall(text)) for pattern in (LETTER, HAN, LATIN))
    own = {"en": latin, "zh": han}[lang]
    both = han >= 2 and latin >= 2
    return both and own >= _LEAST_OWN_SHARE[lang] * letters and han + latin >= 0.95 * letters


def _classes(character: str) -> int:
    """One bit for each of _SCRIPTS."""
    return sum(bool(script.match(character)) << n for n, script in enumerate(_SCRIPTS))


@cache
def _table() -> UInt8[np.ndarray, "65536"]:
    table = np.zeros(_PLANE, np.uint8)
    characters = "".join(map(chr, range(_PLANE)))
    for n, script in enumerate(_SCRIPTS):
        table[[match.start() for match in script.finditer(characters)]] |= 1 << n
    return table


@cache
def _identifier() -> Any:
    """Half a second and 50 MB; its file has arrays and nothing that is run."""
    # Imported here, since reading records needs the scripts alone.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
