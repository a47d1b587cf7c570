"""Rules that reject an answer before a Critic is asked: refusal, lecture, loop, cut-off and so on.

The charter's checks decide what a principle wants; the rules here name what no charter wants a
model to learn, each with a member of `AnswerReason`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from vcjax.adversarial.calls import ACTOR, failed_call
from vcjax.adversarial.reasons import AnswerReason, Origin
from vcjax.charter.checks import no_repetition
from vcjax.charter.schema import Charter
from vcjax.data.near_duplicates import share_quoted
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict
from vcjax.text.answers import is_cut_off, is_lecture
from vcjax.text.language import Language, is_in_language
from vcjax.text.refusals import find_refusal

_ECHO = 0.8


@dataclass(frozen=True)
class _Answer:
    """An answer as the rules read it."""

    text: str
    query: str
    lang: Language
    finish_reason: str


def _refuses(answer: _Answer) -> bool:
    return find_refusal(answer.text) is not None


def _is_off_language(answer: _Answer) -> bool:
    return not is_in_language(answer.text, answer.lang)


def _echoes(answer: _Answer) -> bool:
    return share_quoted(answer.text, answer.query) >= _ECHO


def _repeats_itself(answer: _Answer) -> bool:
    return not no_repetition(answer.query, answer.text, answer.lang).passed


def _lectures(answer: _Answer) -> bool:
    return is_lecture(answer.text, answer.lang)


def _is_truncated(answer: _Answer) -> bool:
    return answer.finish_reason == "length" or is_cut_off(answer.text, answer.lang)


_RULES: dict[AnswerReason, Callable[[_Answer], bool]] = {
    AnswerReason.REFUSAL: _refuses,
    AnswerReason.OFF_LANGUAGE: _is_off_language,
    AnswerReason.ECHO: _echoes,
    AnswerReason.REPETITIVE: _repeats_itself,
    AnswerReason.LECTURE: _lectures,
    AnswerReason.TRUNCATED: _is_truncated,
}
"""In this order: an answer's reason is that of the first rule that rejects it."""


FILTERS = tuple(_RULES)
"""The rules that a config may switch off: how often they are right is measured in `filters.py`."""


def rejecting_filters(
    answer: str,
    query: str,
    lang: Language,
    finish_reason: str,
    filters: Collection[AnswerReason] = FILTERS,
) -> list[AnswerReason]:
    """The filters that reject an answer, in their order.

    Args:
      finish_reason: of the reply; `length` is a truncation, whatever the last words are.
      filters: those that are asked.
    """
    read = _Answer(answer.strip().replace("’", "'"), query, lang, finish_reason)
    if not read.text:
        return []
    return [reason for reason in FILTERS if reason in filters and _RULES[reason](read)]


def answer_reject_reason(
    answer: str,
    query: str,
    lang: Language,
    finish_reason: str,
    filters: Collection[AnswerReason] = FILTERS,
) -> AnswerReason | None:
    """The first reason to reject an answer, or None. Args: see `rejecting_filters`."""
    if not answer.strip():
        return AnswerReason.EMPTY
    return next(iter(rejecting_filters(answer, query, lang, finish_reason, filters)), None)


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
