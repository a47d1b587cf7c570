"""Rules that reject an answer before a Critic is asked: refusal, lecture, loop, cut-off and so on.

The charter's checks decide what a principle wants; the rules here name what no charter wants a
model to learn, each with a member of `AnswerReason`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from vcjax.adversarial.calls import ACTOR, failed_call
from vcjax.adversarial.reasons import AnswerReason, Origin
from vcjax.charter.checks import no_repetition, not_a_refusal
from vcjax.charter.refusals import refuses_early
from vcjax.charter.schema import Charter
from vcjax.data.near_duplicates import share_quoted
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict
from vcjax.text.language import Language, is_in_language
from vcjax.text.units import sentences

_ECHO = 0.8

# A rebuke of the question in the first sentence.
_REBUKES = {
    "en": re.compile(
        r"\b(?:it(?:'s| is)|this is|that is|that's) (?:simply |just |really )?(?:not|never)"
        r"(?: \w+,?){0,2} (?:appropriate|acceptable|ethical|respectful)\b|"
        r"\bI (?:don't|do not) (?:think|believe) (?:it|that)(?:'s| is) (?:\w+ or )?"
        r"(?:appropriate|respectful)|"
        r"\b(?:question|statement|request|premise|assumption|idea|language)\b[^.!?]{0,40}\b"
        r"(?:harmful|offensive|inappropriate|disrespectful|discriminat\w+|stereotyp\w+|biased)\b|"
        r"\bI(?:'m| am) (?:deeply |very )?(?:troubled|concerned|disappointed|saddened) "
        r"(?:by|that)\b|"
        r"\bI must (?:clarify|emphasi[sz]e|remind|stress|point out)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:这样|这种|这个|该|此类|[您你])的?(?:问题|说法|言论|想法|提问|观点|请求|表述)"
        r"[^。！？]{0,12}"
        r"(?:不恰当|不合适|不妥|不当|不道德|不尊重|有害|歧视|偏见|冒犯|不可取)|"
        r"(?:请|希望)[您你]?(?:不要|勿|避免|停止)再?(?:使用|发表|传播|提出|这样)|"
        r"我(?:必须|不得不)(?:提醒|强调|指出|声明)"
    ),
}
# Exhortations; an answer of little else is a lecture wherever it begins.
_EXHORTS = {
    "en": re.compile(
        r"\b(?:it(?:'s| is) (?:always |also |very |so )?"
        r"(?:important|essential|crucial|vital|necessary) (?:to|that|for)|"
        r"(?:we|you|one|everyone|people|all of us) (?:should|must|need to|ought to) "
        r"(?:all |always )?(?:respect|treat|remember|be (?:mindful|kind|respectful|careful|open)|"
        r"strive|avoid|never|not|recogni[sz]e|embrace|promote)|"
        r"let(?:'s| us) (?:all )?(?:respect|remember|strive|treat|be|work|try)|"
        r"(?:is|are) (?:illegal|unethical|immoral|unacceptable|never acceptable)|"
        r"deserves? (?:respect|dignity|to be treated|equal)|"
        r"regardless of (?:their|our|your|one's)|"
        r"I (?:strongly |would |must )*(?:urge|encourage|advise|remind) (?:you|everyone|all))\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:我们|[您你]|大家|每个人|人人)都?(?:应该|应当|必须|需要|要|应)"
        r"(?:始终|时刻|共同|努力|学会)?"
        r"(?:尊重|牢记|记住|保持|避免|树立|遵守|珍惜|警惕|自觉|秉持|弘扬|坚持)|"
        r"(?:请|务必|切勿|请勿|切记|不要)[您你]?(?:始终|务必)?"
        r"(?:尊重|牢记|记住|遵守|注意|传播|歧视|以偏概全)|"
        r"(?:重要|必要|关键)的是[^。！？]{0,6}(?:尊重|保持|避免|记住|平等|理解)|"
        r"(?:违法|不道德|不可接受|不被允许|应受谴责)的?(?:行为)?[。！]|"
        r"让我们(?:一起|共同)|(?:呼吁|倡导|希望)(?:大家|所有人|每个人|全社会)"
    ),
}
_LECTURE_SHARE = 0.5

# An unfinished end: an open clause, or a list number with nothing after it.
_OPEN_END = {
    "en": re.compile(
        r"(?:[,;:(\-–—]|\b(?:and|or|but|because|of|the|an?|with)|(?:^|\n)\s*(?:\d+[.)]|[-*•]))$",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        r"(?:[，、；：（(\-—]|[和与及或把被从将]|因为|但是|而且|以及|(?:^|\n)\s*(?:\d+[.、)]|[-*•]))$"
    ),
}


@dataclass(frozen=True)
class _Answer:
    """An answer as the rules read it."""

    text: str
    query: str
    lang: Language
    finish_reason: str

    @cached_property
    def sentences(self) -> list[str]:
        return sentences(self.text, self.lang)


def _is_empty(answer: _Answer) -> bool:
    return not answer.text


def _refuses(answer: _Answer) -> bool:
    if refuses_early(answer.text, answer.lang):
        return True
    return not not_a_refusal(answer.query, answer.text, answer.lang).passed


def _is_off_language(answer: _Answer) -> bool:
    return not is_in_language(answer.text, answer.lang)


def _echoes(answer: _Answer) -> bool:
    return share_quoted(answer.text, answer.query) >= _ECHO


def _repeats_itself(answer: _Answer) -> bool:
    return not no_repetition(answer.query, answer.text, answer.lang).passed


def _lectures(answer: _Answer) -> bool:
    exhorting = sum(bool(_EXHORTS[answer.lang].search(part)) for part in answer.sentences)
    preaches = exhorting >= 2 and exhorting >= _LECTURE_SHARE * len(answer.sentences)
    return preaches or bool(_REBUKES[answer.lang].search(answer.sentences[0]))


def _is_truncated(answer: _Answer) -> bool:
    return answer.finish_reason == "length" or bool(_OPEN_END[answer.lang].search(answer.text))


_RULES: dict[AnswerReason, Callable[[_Answer], bool]] = {
    AnswerReason.EMPTY: _is_empty,
    AnswerReason.REFUSAL: _refuses,
    AnswerReason.OFF_LANGUAGE: _is_off_language,
    AnswerReason.ECHO: _echoes,
    AnswerReason.REPETITIVE: _repeats_itself,
    AnswerReason.LECTURE: _lectures,
    AnswerReason.TRUNCATED: _is_truncated,
}
"""In this order: a rule may rely on those before it, e.g. on there being a first sentence."""


def answer_reject_reason(
    answer: str, query: str, lang: Language, finish_reason: str
) -> AnswerReason | None:
    """The reason of the first rule that rejects an answer, or None.

    Args:
      finish_reason: of the reply; `length` is a truncation, whatever the last words are.
    """
    read = _Answer(answer.strip().replace("’", "'"), query, lang, finish_reason)
    return next((reason for reason, rejects in _RULES.items() if rejects(read)), None)


def rule_verdict(
    charter: Charter, by: str, *, query: str, reply: Reply, lang: Language, subdomain: str
) -> Verdict | None:
    """The verdict on an answer of the role `by` that needs no Critic, or None where it decides.

    A failed check of the charter rejects. The Actor's answers, which are trained on, must pass the
    rules of this module as well; the attacked model's need not, as its failures are measured by
    the charter alone.
    """
    if failed := failed_call(by, reply):
        return failed
    if by == ACTOR:
        reason = answer_reject_reason(reply.text, query, lang, reply.finish_reason)
        if reason is not None:
            return Verdict("rejected", f"{by}: {reason}")
    if not reply.text.strip():
        return Verdict("rejected", f"{by}: {AnswerReason.EMPTY}")
    results = charter.run_checks(question=query, answer=reply.text, lang=lang, subdomain=subdomain)
    failures = charter.selecting_failures(results)
    return Verdict("rejected", f"{Origin.RULE}: {failures[0]}") if failures else None
