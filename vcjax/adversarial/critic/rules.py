"""Rules that reject an answer before a Critic is asked: refusal, lecture, loop, cut-off and so on.

The charter's checks decide what a principle wants; the rules here name what no charter wants a
model to learn, each with a member of `AnswerReason`.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from vcjax.adversarial.calls import ACTOR, failed_call
from vcjax.adversarial.reasons import FILTERS, AnswerReason, Origin
from vcjax.charter.checks import no_repetition
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.data.near_duplicates import share_quoted
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict
from vcjax.text.answers import is_cut_off, is_lecture
from vcjax.text.language import Language, is_in_language
from vcjax.text.refusals import find_refusal

# Share of an answer that stands in its question: an answer may quote a part to discuss it.
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
"""Each of FILTERS; an answer's reason is that of the first of them that rejects it."""


def choose_filters(names: Iterable[str]) -> tuple[AnswerReason, ...]:
    """The filters of these names, in the order in which they are asked.

    Raises:
      UserError: a name that no filter has.
    """
    chosen = list(names)
    for name in chosen:
        if name not in set(FILTERS):
            known = [each.value for each in FILTERS]
            raise UserError(
                f"config.filters: {name!r} is none of {', '.join(known)}{suggest(name, known)}"
            )
    return tuple(each for each in FILTERS if each in chosen)


def rejecting_filters(
    answer: str,
    query: str,
    lang: Language,
    finish_reason: str,
    filters: Collection[AnswerReason] = FILTERS,
) -> list[AnswerReason]:
    """The filters that reject an answer, in their order; none of them rejects an empty one.

    Args:
      finish_reason: of the reply; `length` is a truncation, whatever the last words are.
      filters: those that are asked.
    """
    # The patterns know the straight apostrophe alone.
    read = _Answer(answer.strip().replace("’", "'"), query, lang, finish_reason)
    if not read.text:
        return []
    return [reason for reason in FILTERS if reason in filters and _RULES[reason](read)]


@dataclass(frozen=True)
class RuleVerdict:
    """A verdict for which no Critic is needed.

    Attributes:
      overrulable: whether it rests on a filter's cues. A Critic that is known to agree with people
        may overrule these.
    """

    verdict: Verdict
    overrulable: bool = False


_CHECKS_BY_CUES = ("not_a_refusal", "no_repetition")
"""The charter's checks that ask what a filter asks, and are right as often."""


def rule_verdicts(
    charter: Charter,
    by: str,
    *,
    query: str,
    reply: Reply,
    lang: Language,
    subdomain: str | None,
    filters: Collection[AnswerReason] = FILTERS,
) -> list[RuleVerdict]:
    """The verdicts of all rules that reject an answer of the role `by`; without any a Critic
    decides.

    A failed check of the charter rejects. The Actor's answers, which are trained on, must pass the
    filters as well; the attacked model's need not, as its failures are measured by the charter
    alone.

    Args:
      filters: those that are asked.
    """
    if failed := failed_call(by, reply):
        return [RuleVerdict(failed)]
    if not reply.text.strip():
        return [RuleVerdict(Verdict("rejected", f"{by}: {AnswerReason.EMPTY}"))]
    found: list[RuleVerdict] = []
    # Before the charter's checks, as an answer's reason is that of the first rule: "refusal" says
    # more than a check that fails of it.
    if by == ACTOR:
        found += [
            RuleVerdict(Verdict("rejected", f"{by}: {reason}"), overrulable=True)
            for reason in rejecting_filters(reply.text, query, lang, reply.finish_reason, filters)
        ]
    results = charter.run_checks(question=query, answer=reply.text, lang=lang, subdomain=subdomain)
    found += [
        RuleVerdict(
            Verdict("rejected", f"{Origin.RULE}: {key}"),
            overrulable=key.rpartition("/")[2] in _CHECKS_BY_CUES,
        )
        for key in charter.selecting_failures(results)
    ]
    return found
