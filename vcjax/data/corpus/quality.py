"""Rules that a document of good prose passes, of the families of Gopher, C4 and FineWeb.

Each rule is a threshold of `EnglishRules`; `ChineseRules` has the same fields and what Chinese
needs: characters in the place of words, since it has no spaces, and its own punctuation. Sources:

    Gopher     Rae et al., "Scaling Language Models" (2021), appendix A.1
    C4         Raffel et al., "Exploring the Limits of Transfer Learning" (JMLR 2020), section 2.2
    FineWeb    Penedo et al., "The FineWeb Datasets" (NeurIPS 2024), section 3.5
    FineWeb-2  Penedo et al., "FineWeb2" (2025), its published settings for Mandarin (`cmn_Hani`)

FineWeb-2 counts words that a segmenter finds, of 1.6 characters on average; a threshold of its that
counts words is taken over to characters by that factor, and then it is *ours*.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar

from vcjax.core.errors import UserError
from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.repetition import Grams, duplicate_shares
from vcjax.text.language import LETTER, Language
from vcjax.text.units import units

Reason = tuple[str, str]
"""The rule that removes a document, and what was measured."""
Checked = Iterator[tuple[str, float, bool]]
"""Of each rule its name, what was measured, and whether it is broken."""

_BULLETS = ("•", "-", "*", "·", "●", "◆", "■", "▪", "○", "–")
_ELLIPSES = ("…", "...", "。。。")
_SENTENCE_END = {
    "en": re.compile(r"[.!?]+(?!\w)"),
    "zh": re.compile(r"[。！？；!?]+|\.(?!\w)"),
}
_DIGITS = re.compile(r"\d+")
_FROM_LETTER = re.compile(rf"{LETTER.pattern}\S*")  # to the end of a word: once in each


@dataclass(frozen=True)
class EnglishRules:
    """Thresholds for English; words are units, and shares are 0 to 1.

    A rule is off where a `least` is 0, a share's `most` is 1, or another `most` is 0.

    Attributes:
      least_units, most_units: words of a document (Gopher).
      least_mean_length, most_mean_length: characters of its words on average (Gopher).
      most_hashes, most_ellipses: `#` and ellipses for each word (Gopher).
      most_bullet_lines: share of lines that begin with a bullet (Gopher).
      most_ellipsis_lines: share of lines that end with an ellipsis (Gopher).
      least_alphabetic: share of words that have a letter (Gopher).
      least_stop_words: occurrences of `stop_words`, whose list is Gopher's.
      most_punctuation: share of characters, spaces apart, that are neither letter nor digit: ours,
        as tables, menus and code have more, and prose 0.03 to 0.06.
      most_digits: share of characters, spaces apart, that are digits: ours.
      least_punctuated_lines: share of lines with the mark of a sentence's end in them. FineWeb has
        0.12 of lines that end with one; so an article in one line that breaks off would go.
      most_short_lines: share of lines of at most `short_line` characters (FineWeb).
      most_lines: line ends for each word (FineWeb).
      least_sentences: marks of a sentence's end. 2 is ours: C4's 5 removes short articles, too.
      no_placeholder: whether `lorem ipsum` removes a document (C4).
      no_braces: whether a `{` removes a document (C4). Off: mathematics and law have them, too.
      most_repeated_lines, most_repeated_paragraphs: share of lines or paragraphs that repeat an
        earlier one (Gopher).
      most_characters_in_repeated_lines: the same in characters. FineWeb-2's, as FineWeb's 0.01
        removes a document for two equal headings; Gopher has 0.2.
      most_characters_in_repeated_paragraphs: the same for paragraphs (Gopher).
      top_sizes, top_shares: n, and the largest share of characters in occurrences of the most
        frequent n-gram (Gopher).
      repeated_sizes, repeated_shares: n, and the largest share of characters in n-grams that
        occurred before (Gopher).
    """

    least_units: int = 50
    most_units: int = 100_000
    least_mean_length: float = 3.0
    most_mean_length: float = 10.0
    most_hashes: float = 0.1
    most_ellipses: float = 0.1
    most_bullet_lines: float = 0.9
    most_ellipsis_lines: float = 0.3
    least_alphabetic: float = 0.8
    least_stop_words: int = 2
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    most_punctuation: float = 0.3
    most_digits: float = 0.3
    least_punctuated_lines: float = 0.12
    most_short_lines: float = 0.67
    short_line: int = 30
    most_lines: float = 0.3
    least_sentences: int = 2
    no_placeholder: bool = True
    no_braces: bool = False
    most_repeated_lines: float = 0.3
    most_repeated_paragraphs: float = 0.3
    most_characters_in_repeated_lines: float = 0.1
    most_characters_in_repeated_paragraphs: float = 0.2
    top_sizes: tuple[int, ...] = (2, 3, 4)
    top_shares: tuple[float, ...] = (0.2, 0.18, 0.16)
    repeated_sizes: tuple[int, ...] = (5, 6, 7, 8, 9, 10)
    repeated_shares: tuple[float, ...] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.1)

    LANG: ClassVar[Language] = "en"

    def __post_init__(self) -> None:
        for kind in ("top", "repeated"):
            sizes, shares = getattr(self, f"{kind}_sizes"), getattr(self, f"{kind}_shares")
            if (
                len(sizes) != len(shares)
                or list(sizes) != sorted(sizes)
                or min(sizes, default=1) < 1
            ):
                raise UserError(
                    f"config.{kind}_sizes: must be ascending, with one of config.{kind}_shares each"
                )


@dataclass(frozen=True)
class ChineseRules(EnglishRules):
    """Thresholds for Chinese; letters and digits are units, one by one.

    Attributes:
      least_units, most_units: characters: Gopher's words by the factor, ours.
      least_mean_length, most_mean_length: off, as all units have one character.
      most_hashes, most_ellipses: Gopher's by the factor, ours.
      least_alphabetic: share of letters among characters, a number being one; FineWeb-2's share of
        words.
      stop_words: characters with a grammatical function, in both scripts, ours: FineWeb-2's list
        has years and months of its encyclopaedia in it.
      most_punctuation: as in English; Chinese prose has 0.1 to 0.16, dialogues 0.2.
      least_punctuated_lines, most_repeated_lines: FineWeb-2.
      most_short_lines, short_line: FineWeb's by the factor of 2.5 that texts are shorter in
        Chinese, ours.
      most_lines: FineWeb-2's by the factor, ours.
      top_sizes, repeated_sizes: FineWeb-2's by the factor, ours.
      top_shares, repeated_shares: FineWeb-2.
    """

    least_units: int = 80
    most_units: int = 160_000
    least_mean_length: float = 0.0
    most_mean_length: float = 0.0
    most_hashes: float = 0.06
    most_ellipses: float = 0.06
    least_alphabetic: float = 0.735
    stop_words: tuple[str, ...] = tuple("的是在了和有不也这這就与與为為而之以其于於及对對")
    least_punctuated_lines: float = 0.106
    short_line: int = 12
    most_lines: float = 0.11
    most_repeated_lines: float = 0.287
    top_sizes: tuple[int, ...] = (3, 5, 6)
    top_shares: tuple[float, ...] = (0.256, 0.201, 0.171)
    repeated_sizes: tuple[int, ...] = (8, 10, 11, 13, 14, 16)
    repeated_shares: tuple[float, ...] = (0.198, 0.182, 0.167, 0.154, 0.14, 0.127)

    LANG: ClassVar[Language] = "zh"


@dataclass(frozen=True)
class QualitySettings:
    """The rules of each language; documents in another one pass."""

    en: EnglishRules = field(default_factory=EnglishRules)
    zh: ChineseRules = field(default_factory=ChineseRules)


class Quality:
    """The step."""

    name: ClassVar[str] = "quality"
    changes: ClassVar[bool] = False
    Settings: ClassVar[type] = QualitySettings

    def __init__(self, settings: QualitySettings) -> None:
        self._rules = {"en": settings.en, "zh": settings.zh}

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        rules = self._rules.get(document.lang)
        if rules is None or (reason := broken_rule(document.text, rules)) is None:
            return document
        why, measured = reason
        return Removal(self.name, why, document, measured)


def broken_rule(text: str, rules: EnglishRules) -> Reason | None:
    """The first rule that a text breaks, the cheapest ones first, or None."""
    found = units(text, rules.LANG)
    if len(found) < max(1, rules.least_units):
        return "too short", f"{len(found)} units"
    if rules.most_units and len(found) > rules.most_units:
        return "too long", f"{len(found)} units"
    for check in (_by_words, _by_lines, _by_repeated_lines, _by_repeated_grams):
        for reason, share, broken in check(text, found, rules):
            if broken:
                return reason, f"{share:.3g}"
    return None


def _by_words(text: str, found: Sequence[str], rules: EnglishRules) -> Checked:
    count = len(found)
    tokens = text.split()
    visible = sum(map(len, tokens))
    size = sum(map(len, found))
    digits = sum(map(len, filter(str.isdigit, found)))
    if rules.LANG == "en":
        mean = size / count
        yield "short words", mean, mean < rules.least_mean_length
        yield "long words", mean, bool(rules.most_mean_length) and mean > rules.most_mean_length
        letters = len(_FROM_LETTER.findall(text)) / len(tokens)
    else:  # a number is one word, as in FineWeb-2
        letters = (size - digits) / (visible - digits + len(_DIGITS.findall(text)))
    yield "few words with letters", letters, letters < rules.least_alphabetic
    punctuation = 1 - size / visible
    yield "much punctuation", punctuation, punctuation > rules.most_punctuation
    share = digits / visible
    yield "many digits", share, share > rules.most_digits
    share = text.count("#") / count
    yield "many hashes", share, share > rules.most_hashes
    share = (text.count("...") + text.count("…")) / count
    yield "many ellipses", share, share > rules.most_ellipses
    stop_words = filter(frozenset(rules.stop_words).__contains__, found)
    stops = len(tuple(islice(stop_words, rules.least_stop_words)))
    yield "few stop words", stops, stops < rules.least_stop_words
    ends = len(_SENTENCE_END[rules.LANG].findall(text))
    yield "few sentences", ends, ends < rules.least_sentences
    if rules.no_placeholder:
        position = text.lower().find("lorem ipsum")
        yield "placeholder text", position, position >= 0
    if rules.no_braces:
        position = text.find("{")
        yield "curly brackets", position, position >= 0


def _by_lines(text: str, found: Sequence[str], rules: EnglishRules) -> Checked:
    lines = _lines(text)
    share = sum(line.startswith(_BULLETS) for line in lines) / len(lines)
    yield "many bullets", share, share > rules.most_bullet_lines
    share = sum(line.endswith(_ELLIPSES) for line in lines) / len(lines)
    yield "many lines that break off", share, share > rules.most_ellipsis_lines
    share = sum(map(bool, map(_SENTENCE_END[rules.LANG].search, lines))) / len(lines)
    yield "few lines with sentences", share, share < rules.least_punctuated_lines
    share = sum(len(line) <= rules.short_line for line in lines) / len(lines)
    yield "short lines", share, share > rules.most_short_lines
    share = text.count("\n") / len(found)
    yield "many lines", share, share > rules.most_lines


def _by_repeated_lines(text: str, found: Sequence[str], rules: EnglishRules) -> Checked:
    paragraphs = [each for each in text.split("\n\n") if each.strip()]
    share, characters = duplicate_shares(paragraphs)
    yield "repeated paragraphs", share, share > rules.most_repeated_paragraphs
    limit = rules.most_characters_in_repeated_paragraphs
    yield "characters in repeated paragraphs", characters, characters > limit
    share, characters = duplicate_shares(_lines(text))
    yield "repeated lines", share, share > rules.most_repeated_lines
    limit = rules.most_characters_in_repeated_lines
    yield "characters in repeated lines", characters, characters > limit


def _by_repeated_grams(text: str, found: Sequence[str], rules: EnglishRules) -> Checked:
    grams = Grams(found, len(text), rules.LANG)
    limits = list(zip(rules.top_sizes, rules.top_shares, strict=True))
    if top := grams.top_above(limits):
        yield f"one {top[0]}-gram again and again", top[1], True
    limits = list(zip(rules.repeated_sizes, rules.repeated_shares, strict=True))
    if repeated := grams.repeated_above(limits):
        yield f"repeated {repeated[0]}-grams", repeated[1], True


def _lines(text: str) -> list[str]:
    return [line for line in map(str.strip, text.split("\n")) if line]
