"""The checks: small deterministic rules that decide one property of an answer each."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from vcjax.charter.markers import PERSPECTIVES
from vcjax.charter.refusals import opening_refusal
from vcjax.charter.registry import CHECKS, CheckResult, check
from vcjax.core.errors import UserError
from vcjax.text.language import LEAST_SCRIPT_SHARE, Language, script_share
from vcjax.text.units import WORD, bare_sentences, units

if TYPE_CHECKING:
    from vcjax.charter.schema import Charter  # the schema imports the checks to validate them

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Literals = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


def _ordered(bounds: Sequence[int]) -> Sequence[int]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound {bounds[0]} is above the upper bound {bounds[1]}")
    return bounds


Bounds = Annotated[
    Sequence[Annotated[int, Field(ge=0)]],
    Field(min_length=2, max_length=2),
    AfterValidator(_ordered),
]

_CLOSERS = "\"'”’»)）]】』」》*_` \t\r\n"
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d+\.$")


@check("answered_in_language")
def answered_in_language(
    question: str, answer: str, lang: Language, threshold: Share = LEAST_SCRIPT_SHARE
) -> CheckResult:
    """Latin letters (en) or Han characters (zh) are at least `threshold` of all letters.

    Scripts, not languages: French passes as `en`. Names and terms in the other script are
    what the threshold leaves room for.
    """
    share = script_share(answer, lang)
    return CheckResult(share >= threshold, f"{share:.0%} of the letters are of {lang}'s script")


@check("not_a_refusal")
def not_a_refusal(question: str, answer: str, lang: Language) -> CheckResult:
    """The answer doesn't open with a refusal, in either language.

    "I'm sorry" or "cannot" alone is no refusal: "I cannot agree that …" is an answer.
    """
    if (refusal := opening_refusal(answer)) is not None:
        return CheckResult(False, f"opens with a refusal: {refusal!r}")
    return CheckResult(True, "no refusal at the start")


@check("sane_length")
def sane_length(
    question: str,
    answer: str,
    lang: Language,
    words: Bounds = (5, 250),
    characters: Bounds = (8, 500),
) -> CheckResult:
    """The number of words (en) or of characters other than space (zh) is within the bounds."""
    if lang == "en":
        count, (low, high), unit = len(WORD.findall(answer)), words, "words"
    else:
        count, (low, high), unit = len("".join(answer.split())), characters, "characters"
    return CheckResult(low <= count <= high, f"{count} {unit}, bounds {low} to {high}")


@check("no_repetition")
def no_repetition(
    question: str,
    answer: str,
    lang: Language,
    words: Count = 4,
    characters: Count = 8,
    limit: Share = 0.2,
) -> CheckResult:
    """Few n-grams occur again, and no line or sentence occurs three times.

    `words` (en) and `characters` (zh) are the length n; the share of n-grams that repeat an
    earlier one, 1 - distinct / all, may be at most `limit`. Sentences of a single word or
    character (list marks, "Yes.") aren't counted.
    """
    counts = Counter(units(sentence, lang) for sentence in bare_sentences(answer, lang))
    for sentence, times in counts.items():
        if len(sentence) > 1 and times >= 3:
            text = (" " if lang == "en" else "").join(sentence)
            return CheckResult(False, f"said {times} times: {text!r}")
    parts, n = units(answer, lang), words if lang == "en" else characters
    grams = [parts[i : i + n] for i in range(len(parts) - n + 1)]
    share = 1 - len(set(grams)) / len(grams) if grams else 0.0
    return CheckResult(share <= limit, f"{share:.0%} of the {n}-grams are repeats")


@check("two_perspectives")
def two_perspectives(question: str, answer: str, lang: Language) -> CheckResult:
    """Explicit markers of at least two sides: "some … others", 支持者…反对者 and the like."""
    sides = PERSPECTIVES[lang]
    if both := sides.both.search(answer):
        return CheckResult(True, f"two sides: {both.group()!r}")
    one, other = sides.one.search(answer), sides.other.search(answer)
    if one and other:
        return CheckResult(True, f"two sides: {one.group()!r} and {other.group()!r}")
    found = one or other
    return CheckResult(False, f"one side only: {found.group()!r}" if found else "no markers")


@check("contains_element")
def contains_element(
    question: str, answer: str, lang: Language, any_of: dict[Language, Literals]
) -> CheckResult:
    """At least one literal of `any_of[lang]` occurs in the answer; case doesn't matter."""
    folded = answer.casefold()
    found = [literal for literal in any_of[lang] if literal.casefold() in folded]
    return CheckResult(bool(found), f"found {found}" if found else f"none of {any_of[lang]}")


@check("complete_ending")
def complete_ending(question: str, answer: str, lang: Language) -> CheckResult:
    """The answer ends with sentence-final punctuation, closing quotes and brackets aside.

    An ellipsis trails off and a bare list number ("3.") is cut off: both fail.
    """
    text = answer.rstrip(_CLOSERS)
    trails = text.endswith(("...", "…")) or _LIST_NUMBER.search(text)
    passed = text.endswith((".", "!", "?", "。", "！", "？")) and not trails
    return CheckResult(bool(passed), f"ends with {answer.strip()[-12:]!r}")


def run_checks(
    charter: "Charter", *, question: str, answer: str, lang: Language, subdomain: str | None = None
) -> dict[str, CheckResult]:
    """Runs the checks of every principle that applies; keys are '<principle id>/<check name>'.

    A principle that is bound to subdomains applies only where `subdomain` is one of them.

    Raises:
      UserError: `lang` or `subdomain` isn't the charter's.
    """
    if lang not in charter.languages:
        raise UserError(f"charter {charter.name!r} has no language {lang!r}")
    if subdomain is not None:
        charter.subdomain(subdomain)
    return {
        f"{principle.id}/{use.name}": CHECKS[use.name].function(question, answer, lang, **use.args)
        for principle in charter.principles_of(subdomain)
        for use in principle.checks
    }


def selecting_failures(charter: "Charter", results: dict[str, CheckResult]) -> list[str]:
    """Keys of the failed checks that select data: those of `measure_only` principles don't."""
    measured = {principle.id for principle in charter.principles if principle.measure_only}
    return [
        key
        for key, result in results.items()
        if not result.passed and key.split("/")[0] not in measured
    ]
