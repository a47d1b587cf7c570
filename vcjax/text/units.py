"""A text's words and sentences, in English and in Chinese.

Sentences are cut by two rules. `sentences` keeps the end marks, so that a joined opening reads as
it was written; `bare_sentences` leaves them out and spares abbreviations, so that two sentences
with the same words are the same.
"""

import re
from itertools import pairwise

from vcjax.text.language import HAN, Language

WORD = re.compile(r"\w+(?:['’-]\w+)*")
_RUN = re.compile(rf"(?:{HAN.pattern})+|(?:(?!{HAN.pattern})\w)+(?:['’-](?:(?!{HAN.pattern})\w)+)*")

_AFTER_SENTENCE = {
    "en": re.compile(r"(?<=[.!?])\s+|\n+"),
    "zh": re.compile(r"(?<=[。！？!?；])|\n+"),
}
_SENTENCE_END = {
    # A full stop after a single letter is an abbreviation's ("e.g.", "U.S."), not a sentence's.
    "en": re.compile(r"(?<!\b[A-Za-z])[.!?]+(?:\s+|$)|\n+"),
    "zh": re.compile(r"[。！？!?；;]+|\n+"),
}


def units(text: str, lang: Language) -> tuple[str, ...]:
    """Case-folded words in English; letters and digits, one by one, in Chinese.

    N-grams of these are what repetition and diversity are measured by.
    """
    folded = text.casefold()
    return tuple(WORD.findall(folded) if lang == "en" else filter(str.isalnum, folded))


def search_terms(text: str) -> list[str]:
    """What a search compares, whatever the language: words, and pairs of Chinese characters.

    Chinese has no spaces, and single characters are in most texts. A character that stands alone
    is a term by itself.
    """
    terms = []
    for run in _RUN.findall(text.casefold()):
        if HAN.match(run) and len(run) > 1:
            terms += map("".join, pairwise(run))
        else:
            terms.append(run)
    return terms


def sentences(text: str, lang: Language) -> list[str]:
    """The sentences and lines of a text with their end marks; none is empty."""
    return [part for part in map(str.strip, _AFTER_SENTENCE[lang].split(text)) if part]


def bare_sentences(text: str, lang: Language) -> list[str]:
    """The sentences and lines of a text without their end marks; none is empty."""
    return [part for part in _SENTENCE_END[lang].split(text) if part]
