"""Which subdomain of a charter a text without a tag is about, by the charter's own words.

Two rules, each of which says yes only where it is fairly sure, since a record that is left out by
mistake is lost for training:

terms   a subdomain's `terms` are words that hardly occur elsewhere ("refugee*", "最低工资"). One of
        them in a question is enough; a longer text needs more, in proportion to its length.
topics  most of the content words of one topic occur in one sentence of the text.

Measured by `tests/charter/test_topics.py` on the shipped benchmark's questions, for which no term
was written: their domains are known.
"""

import re
from collections.abc import Iterable
from functools import cache, cached_property
from itertools import pairwise

from vcjax.charter.schema import Charter, Subdomain
from vcjax.text.language import HAN, Language
from vcjax.text.units import WORD, sentences

_SIZE_PER_TERM = {"en": 80, "zh": 160}
"""Words, or characters, for each of which a text needs one occurrence of a term more."""
_LEAST_SHARE, _LEAST_WORDS = 0.75, 2
"""Of the content words of a topic that one sentence must have."""
_FUNCTION_WORDS = (
    "a about all among an and another any are as at be between by can did do does far for from had "
    "has have how i if in into is it its may might more most must no not of on one or other over "
    "shall should so some such than that the their them there these they this those to under up "
    "was we were what when where which who whom why will with without would you your"
)
_HAN_RUN = re.compile(f"{HAN.pattern}+")
_FUNCTION_CHARACTERS = re.compile(
    r"[的与及和或在是否吗了不将从对因为什么怎样如何哪里能可会应该由其]"
)


class HeldOutTopics:
    """The held-out parts of a charter, and which of them a text is about.

    These are whole subdomains that are held out, and single topics that are held out of others.
    """

    def __init__(self, charter: Charter) -> None:
        self._matchers = [
            matcher
            for subdomain in charter.subdomains()
            for lang in charter.languages
            if (matcher := _Matcher(subdomain, lang)).matches_anything
        ]

    def subdomain_of(self, text: str) -> str | None:
        """The id of the first held-out subdomain that a text is about, or None.

        Texts of every language of the charter are compared, whatever language the text is in: a
        record may mix them.
        """
        folded = text.casefold()
        return next((each.id for each in self._matchers if each.matches(folded)), None)


class _Matcher:
    """The held-out words of one subdomain in one language."""

    def __init__(self, subdomain: Subdomain, lang: Language) -> None:
        self.id = subdomain.id
        self._lang: Language = lang
        topics = subdomain.topics_for(lang, held_out=True)
        found = (_content(topic.casefold(), lang) for topic in topics)
        self._topics = [words for words in found if len(words) >= _LEAST_WORDS]
        # The terms are of the whole subdomain: where only some topics are held out, they would
        # leave out what is trained on.
        self._terms = getattr(subdomain.terms, lang) if subdomain.held_out else ()

    @property
    def matches_anything(self) -> bool:
        return bool(self._topics or self._terms)

    def matches(self, text: str) -> bool:
        """Whether a case-folded text is about the subdomain."""
        if self._pattern is not None:
            occurrences = len(self._pattern.findall(text))
            if occurrences and occurrences > self._size(text) // _SIZE_PER_TERM[self._lang]:
                return True
        # Looking for a stem anywhere is many times as fast as cutting a text into sentences, and
        # few texts have enough of a topic's anywhere.
        topics = [
            topic for topic in self._topics if _enough(topic, (w for w in topic if w in text))
        ]
        return any(
            _enough(topic, topic & _content(sentence, self._lang))
            for sentence in (sentences(text, self._lang) if topics else ())
            for topic in topics
        )

    def _size(self, text: str) -> int:
        pattern = WORD if self._lang == "en" else HAN
        return sum(1 for _ in pattern.finditer(text))

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        """Any of the terms; an English one is whole words, in the plural too."""
        if not self._terms:
            return None
        folded = [term.casefold() for term in self._terms]
        if self._lang == "zh":
            return re.compile("|".join(map(re.escape, folded)))
        return re.compile(rf"\b(?:{'|'.join(map(_word_pattern, folded))})\b")


def _enough(topic: frozenset[str], found: Iterable[str]) -> bool:
    return sum(1 for _ in found) >= max(_LEAST_WORDS, _LEAST_SHARE * len(topic))


def _word_pattern(term: str) -> str:
    """`refuge*` is any word that begins so; other terms may have the ending of a plural."""
    if term.endswith("*"):
        return re.escape(term[:-1]) + r"\w*"
    return re.escape(term) + "(?:e?s)?"


def _content(text: str, lang: Language) -> frozenset[str]:
    """The words of a text that carry its topic: in Chinese pairs of neighbouring characters."""
    if lang == "en":
        return frozenset(
            _stem(word) for word in WORD.findall(text) if word not in _function_words()
        )
    runs = (run.group() for run in _HAN_RUN.finditer(_FUNCTION_CHARACTERS.sub(" ", text)))
    return frozenset("".join(pair) for run in runs for pair in pairwise(run))


@cache
def _function_words() -> frozenset[str]:
    return frozenset(_FUNCTION_WORDS.split())


def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("’s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
