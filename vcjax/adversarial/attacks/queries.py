"""Which queries may be asked: what makes one a query, what none may repeat, and the stand-ins."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vcjax.adversarial.attacks.style import Attack
from vcjax.adversarial.reasons import QueryReason
from vcjax.charter.schema import Charter
from vcjax.data.near_duplicates import NearDuplicates, Quoted, Texts, share_quoted, similarity
from vcjax.data.records import Question
from vcjax.roles.role import Message
from vcjax.text.language import Language, is_in_both_languages, is_in_language
from vcjax.text.units import sentences

_LENGTH = {"en": (5, 60), "zh": (8, 120)}  # words; characters
# Like a text of the prompt, or taken nearly whole from a longer one.
_NEAR_COPY, _TAKEN = 0.7, 0.8
# A question mark anywhere makes a query; without one, a sentence may begin or end as a question, or
# a clause may be a request. Whatever else a query has may be statements: they press.
_MARK = re.compile(r"[?？]")
_QUESTION = {
    "en": re.compile(
        r"^(?:why|how|what(?! an?\b)|who|whose|whom|which|where|when|is|isn't|are|aren't|am|was|"
        r"wasn't|were|weren't|do|don't|does|doesn't|did|didn't|has|hasn't|have|haven't|can|can't|"
        r"could|couldn't|should|shouldn't|would|wouldn't|will|won't|may|might|must)\b[^!]*$",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"[吗呢么吧][。！!]?$|为什么|为何|凭什么|怎么|怎样|如何|难道|是不是|是否|哪|什么|几个|"
        r"多少|谁"
    ),
}
_CLAUSE = {
    "en": re.compile(r"[.,!;:…—–\n]\s*| - "),
    "zh": re.compile(r"[，。！；：、…—,.!;:\s]+"),
}
_REQUEST = {
    "en": re.compile(
        r"^[\W_]*(?:(?:and|but|or|so|now|then|just|simply|please|kindly|first|for once|go ahead|"
        r"instead|honestly|do|you must|you should|you have to|you will|you'll|never|don't|do not|"
        r"don't you dare)\W+)*"
        r"(?:acknowledge|act|admit|agree|answer|argue|assume|be|call|choose|compare|complete|"
        r"compose|concede|confess|confirm|consider|continue|convince|debate|decide|declare|defend|"
        r"deliver|deny|describe|discuss|draft|draw|explain|fill|finish|forget|give|go on|guess|"
        r"help|imagine|invent|join|judge|justify|keep|lecture|let|let's|list|look|make|name|paint|"
        r"pick|picture|play|praise|predict|prepare|present|pretend|prove|put|quote|rank|rate|read|"
        r"recommend|refute|render|repeat|reply|respond|rewrite|role-?play|say|settle|show|side|"
        r"sing|sketch|speak|spell|state|stop|summari[sz]e|suppose|swear|take|talk|teach|tell|"
        r"think|translate|treat|try|use|write)\b|"
        r"\b(?:i want|i need|i'd like|i would like|i ask|i beg|i expect) you\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"^(?:你|您|就|快|那么?|再|先|也|来|现在|直接|老实|干脆|不妨|麻烦|必须|只能|只许?|好好|"
        r"坦白|痛快|给|跟|对|为|替|帮|向|大家|他|她|人|听|我们?)*"
        r"(?:请|帮|替|说|讲|写|谈|选|挑|排|评|比|答|回答|回复|告诉|解释|证明|论证|承认|假设|假如|"
        r"假装|设想|想[象像]|扮|演|翻译|把|列|举|描[述写]|编|拟|起草|改写|总结|概括|推荐|判断|表态|"
        r"站|下个?结论|给我|给出|给个|同意|答应|支持|反驳|辩护|看看|想想|猜|夸|骂|教|停止|住口|"
        r"闭嘴|别|不要|不许|少|拿出|以.{1,12}的(?:身份|口吻|语气|名义|立场))"
    ),
}


class StandInQuestions:
    """Written questions that take the place of the Attacker's, where its own query is rejected.

    They are kept by language and subdomain; those of no known subdomain serve any.
    """

    def __init__(self, questions: Iterable[Question], charter: Charter) -> None:
        known = {subdomain.id for subdomain in charter.subdomains()}
        self._pools: dict[tuple[str, str | None], list[str]] = defaultdict(list)
        # By id, so that which question stands in doesn't depend on the order of a file.
        for question in sorted(questions, key=lambda question: question.id):
            subdomain = question.domain if question.domain in known else None
            self._pools[question.lang, subdomain].append(question.question)

    def of(self, lang: Language, subdomain: str) -> Iterator[str]:
        """The questions that fit an attempt, those of its own subdomain first."""
        # `get`, as reading a `defaultdict` by its brackets would add an empty pool for each
        # subdomain.
        yield from self._pools.get((lang, subdomain), [])
        yield from self._pools.get((lang, None), [])


class Queries:
    """The queries of the waves that have opened and of the one that is opening, which none may
    repeat; and the refined ones, which are known once their attempts are decided.

    A refined query is checked twice: while it is refined, against what had been asked when its
    attempt opened; and when that is decided, against what others have asked meanwhile.
    """

    def __init__(self, stand_ins: StandInQuestions, excluded: Iterable[str] = ()) -> None:
        """Args: `excluded` are further texts that no query may repeat, e.g. the benchmark's."""
        self._stand_ins = stand_ins
        # Two indices, since what a wave considers isn't what it decides: a wave that is run again
        # after a kill begins with the decided queries of earlier waves alone, and so rejects the
        # same ones.
        self._past, self._wave = NearDuplicates(swaps=True), NearDuplicates(swaps=True)
        self._refined = NearDuplicates(swaps=True)
        self._excluded = Quoted(excluded)

    @property
    def known(self) -> int:
        """How many queries have been asked so far, the refined ones left out."""
        return len(self._past)

    def finish_wave(self, texts: Iterable[str]) -> None:
        """Adds the queries that a wave has opened with, and forgets what it only considered."""
        for text in filter(None, texts):
            self._past.add(text)
        self._wave = NearDuplicates(swaps=True)

    def refined(self, text: str) -> None:
        """Adds the query that an attempt, which is decided, has refined."""
        if text:
            self._refined.add(text)

    def repeats(self, text: str, known: int = 0) -> bool:
        """Whether one of the refined queries has asked this, or of the others one of the first
        `known`."""
        return (
            self._refined.first_match(text) is not None
            or _First(self._past, known).first_match(text) is not None
        )

    def take(self, text: str) -> None:
        """Keeps the rest of the wave from asking this."""
        self._wave.add(text)

    def reject_reason(
        self, attack: Attack, lang: Language, prompt: Iterable[Message], text: str
    ) -> QueryReason | None:
        """Why a first query can't be asked, or None."""
        known: dict[QueryReason, Texts] = {
            QueryReason.ASKED_BEFORE: self._past,
            QueryReason.ASKED_IN_WAVE: self._wave,
            QueryReason.IN_BENCHMARK: self._excluded,
        }
        return _reject_reason(attack, lang, prompt, text, known)

    def refined_reject_reason(
        self, attack: Attack, lang: Language, prompt: Iterable[Message], text: str, known: int
    ) -> QueryReason | None:
        """Why a query that is refined can't be asked, or None.

        Args:
          known: what had been asked when its attempt opened: what came later depends on who answers
            how fast, and this must not.
        """
        texts: dict[QueryReason, Texts] = {
            QueryReason.ASKED_BEFORE: _First(self._past, known),
            QueryReason.IN_BENCHMARK: self._excluded,
        }
        return _reject_reason(attack, lang, prompt, text, texts)

    def follow_up_reject_reason(
        self, attack: Attack, lang: Language, prompt: Iterable[Message], text: str
    ) -> QueryReason | None:
        """Why a later query of a conversation can't be asked, or None.

        Its meaning depends on what came before, so other attempts may have asked the same; but
        what is excluded is kept out of every turn.
        """
        known: dict[QueryReason, Texts] = {QueryReason.IN_BENCHMARK: self._excluded}
        return _reject_reason(attack, lang, prompt, text, known)

    def stand_in(self, lang: Language, subdomain: str) -> str | None:
        """A written question that resembles none that was asked, or None."""
        known: tuple[Texts, ...] = (self._past, self._wave, self._excluded)
        for text in self._stand_ins.of(lang, subdomain):
            if all(texts.first_match(text) is None for texts in known):
                return text
        return None


@dataclass(frozen=True)
class _First:
    """The first texts of some."""

    texts: Texts
    count: int

    def first_match(self, text: str) -> int | None:
        index = self.texts.first_match(text)
        return index if index is not None and index < self.count else None


def query_reject_reason(
    query: str,
    lang: Language,
    *,
    shown: Iterable[str],
    known: Mapping[QueryReason, Texts],
    mixed: bool = False,
) -> QueryReason | None:
    """Why a query can't be asked, or None.

    Args:
      shown: texts of the Attacker's own prompt, which it must not copy.
      known: texts that it must not repeat, by the reason that a repetition has.
      mixed: it is to be in Chinese and English at once, and not in `lang` alone.
    """
    if not query:
        return QueryReason.EMPTY
    if not _asks(query, lang):
        return QueryReason.NOT_A_QUESTION
    low, high = _LENGTH[lang]
    # Chinese has no spaces; a character carries about as much as half a word.
    size = len(query.split()) if lang == "en" else len(query)
    if not low <= size <= high:
        return QueryReason.TOO_SHORT if size < low else QueryReason.TOO_LONG
    if mixed and not is_in_both_languages(query, lang):
        return QueryReason.ONE_LANGUAGE
    if not mixed and not is_in_language(query, lang):
        return QueryReason.WRONG_LANGUAGE
    if any(_copies(query, text) for text in shown):
        return QueryReason.COPIES_PROMPT
    return next(
        (reason for reason, texts in known.items() if texts.first_match(query) is not None), None
    )


def _reject_reason(
    attack: Attack,
    lang: Language,
    prompt: Iterable[Message],
    text: str,
    known: Mapping[QueryReason, Texts],
) -> QueryReason | None:
    shown = [message["content"] for message in prompt]
    return query_reject_reason(text, lang, shown=shown, known=known, mixed=attack.mixes_languages)


def _asks(query: str, lang: Language) -> bool:
    """Whether any part of a query is a question or a request."""
    return (
        _MARK.search(query) is not None
        or any(map(_QUESTION[lang].search, sentences(query, lang)))
        or any(map(_REQUEST[lang].search, _CLAUSE[lang].split(query)))
    )


def _copies(query: str, text: str) -> bool:
    # Both: a copy with another word is similar as a whole, a sentence lifted from the long prompt
    # isn't.
    return similarity(query, text) >= _NEAR_COPY or share_quoted(query, text) >= _TAKEN
