"""Which subdomain of a charter a text is about, by the charter's own words.

terms   a subdomain's `terms` are words that hardly occur elsewhere ("refugee*", "最低工资"). One of
        them in a question is enough; a longer text needs more, in proportion to its length.
topics  most of the content words of one topic occur in one sentence of the text.

`DomainTerms` scores a text for each subdomain by terms alone: what is selected by it may be missed
or mistaken now and then. `HeldOutTopics` uses both rules, and says yes only where it is fairly
sure, since a record that is left out by mistake is lost for training.

Measured by `tests/charter/test_topics.py` on the shipped benchmark's questions, for which no term
was written: their domains are known.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vcjax.text.language import HAN, Language
from vcjax.text.terms import Terms
from vcjax.text.units import WORD, sentences

if TYPE_CHECKING:
    from vcjax.charter.parts import Subdomain
    from vcjax.charter.schema import Charter

_SIZE_PER_TERM = {"en": 80, "zh": 160}
"""Words, or characters, for each of which a text needs one occurrence of a term more."""
_LEAST_SHARE, _LEAST_WORDS = 0.75, 2
"""Share and number of a topic's content words that one sentence must have."""
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


class WeightedTerm(NamedTuple):
    """A term of a subdomain beside the charter's own, and for how many of these it counts."""

    term: str
    domain: str
    weight: float = 1.0


class DomainTerms:
    """The terms of subdomains, and how much a text is about each of them."""

    def __init__(
        self, subdomains: "Iterable[Subdomain]", more: Iterable[WeightedTerm] = ()
    ) -> None:
        """Args: `more` are terms of these subdomains or of others; tens of thousands are fine."""
        terms = [
            WeightedTerm(term, each.id)
            for each in subdomains
            for term in (*each.terms.en, *each.terms.zh)
        ]
        terms += more
        self.domains = tuple(dict.fromkeys(each.domain for each in terms))
        indices = {domain: number for number, domain in enumerate(self.domains)}
        self._domain = np.array([indices[each.domain] for each in terms], np.int64)
        self._weight = np.array([each.weight for each in terms], np.float64)
        self._terms = Terms([each.term for each in terms])

    def scores(self, text: str) -> Mapping[str, float]:
        """By subdomain, where any of its terms occurs: how often, over how often a text of this
        length needs to have one to be about the subdomain. So 1 is the natural threshold.

        Terms that begin at the same word, as `移民` and `移民局` do, count once.
        """
        needed = 0.0
        totals = np.zeros(len(self.domains))
        for units, first, terms in self._terms.find(text):
            alone = np.count_nonzero(units.ends - units.starts == 1)
            # Both languages add up: a text that mixes them needs as much evidence as its two parts
            # do.
            needed += alone / _SIZE_PER_TERM["zh"]
            needed += (len(units.hashes) - alone) / _SIZE_PER_TERM["en"]
            # By the word at which terms begin: a text that says `移民局` has one hit, not one for
            # each of its prefixes that is a term.
            best: dict[tuple[int, int], float] = {}
            for at, term in zip(first.tolist(), terms.tolist(), strict=True):
                key = (at, int(self._domain[term]))
                best[key] = max(best.get(key, 0.0), float(self._weight[term]))
            for (_, domain), weight in best.items():
                totals[domain] += weight
        found = np.flatnonzero(totals)
        return {self.domains[n]: float(totals[n] / (1 + int(needed))) for n in found}


class HeldOutTopics:
    """The held-out parts of a charter, and which of them a text is about.

    These are whole subdomains that are held out, and single topics that are held out of others.
    """

    def __init__(self, charter: "Charter") -> None:
        subdomains = charter.subdomains()
        # The terms are of the whole subdomain: where only some topics are held out, they would
        # leave out what is trained on.
        self._terms = DomainTerms(each for each in subdomains if each.held_out)
        self._topics: list[tuple[str, Language, tuple[str, ...]]] = [
            # Long words first: they are the rarest, and a text that lacks two is soon done with.
            (each.id, lang, tuple(sorted(words, key=len, reverse=True)))
            for each in subdomains
            for lang in charter.languages
            for topic in each.topics_for(lang, held_out=True)
            if len(words := content_words(topic.casefold(), lang)) >= _LEAST_WORDS
        ]
        self._order = [each.id for each in subdomains]

    def subdomain_of(self, text: str) -> str | None:
        """The id of the first held-out subdomain that a text is about, or None.

        Texts of every language of the charter are compared, whatever language the text is in: a
        record may mix them.
        """
        found = {domain for domain, score in self._terms.scores(text).items() if score >= 1}
        folded = text.casefold()
        # Looking for a stem anywhere is many times as fast as cutting a text into sentences, and
        # few texts have enough of a topic's anywhere.
        for domain, lang, words in self._topics:
            if (
                domain not in found
                and _may_be_about(words, folded)
                and any(
                    len(content_words(sentence, lang).intersection(words)) >= _least(words)
                    for sentence in sentences(folded, lang)
                )
            ):
                found.add(domain)
        return min(found, key=self._order.index, default=None)


def _least(topic: Sequence[str]) -> float:
    """How many of a topic's words a sentence has that is about it."""
    return max(_LEAST_WORDS, _LEAST_SHARE * len(topic))


def _may_be_about(topic: Sequence[str], text: str) -> bool:
    """Whether enough of a topic's words are anywhere in a text."""
    left = len(topic) - _least(topic)
    for word in topic:
        if word not in text:
            left -= 1
            if left < 0:
                return False
    return True


def content_words(text: str, lang: Language) -> frozenset[str]:
    """The words of a casefolded text that carry its topic: in Chinese pairs of neighbouring
    characters."""
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
