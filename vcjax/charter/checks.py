"""The checks: small deterministic rules that decide one property of an answer each."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from vcjax.charter.markers import PERSPECTIVES, REFUSALS
from vcjax.charter.registry import CHECKS, CheckResult, Language, check
from vcjax.core.errors import UserError

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

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
# A full stop after a single letter is an abbreviation's ("e.g.", "U.S."), not a sentence's.
_SENTENCE_END = {
    "en": re.compile(r"(?<!\b[A-Za-z])[.!?]+(?:\s+|$)|\n+"),
    "zh": re.compile(r"[。！？!?；;]+|\n+"),
}
_CLOSERS = "\"'”’»)）]】』」》*_` \t\r\n"
_OPENERS = "\"'“‘«(（[【『「《*_`#> \t\r\n"
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d+\.$")


def _script_shares(text: str) -> dict[str, float]:
    """Share of Latin letters and of Han characters among all letters of `text`."""
    scripts = Counter(unicodedata.name(c, "").split(" ")[0] for c in text if c.isalpha())
    total = max(scripts.total(), 1)
    return {"en": scripts["LATIN"] / total, "zh": scripts["CJK"] / total}


def _units(text: str, lang: Language) -> list[str]:
    """Words in English; letters and digits, one by one, in Chinese."""
    folded = text.casefold()
    return _WORD.findall(folded) if lang == "en" else [c for c in folded if c.isalnum()]


@check("answered_in_language")
def answered_in_language(
    question: str, answer: str, lang: Language, threshold: Share = 0.6
) -> CheckResult:
    """Latin letters (en) or Han characters (zh) are at least `threshold` of all letters.

    Scripts, not languages: French passes as `en`. Names and terms in the other script are
    what the threshold leaves room for.
    """
    share = _script_shares(answer)[lang]
    return CheckResult(share >= threshold, f"{share:.0%} of the letters are of {lang}'s script")


@check("not_a_refusal")
def not_a_refusal(question: str, answer: str, lang: Language) -> CheckResult:
    """The answer doesn't open with a refusal, in either language.

    "I'm sorry" or "cannot" alone is no refusal: "I cannot agree that …" is an answer.
    """
    opening = answer.replace("*", "").lstrip(_OPENERS).replace("’", "'")
    for pattern in REFUSALS.values():
        if found := pattern.match(opening):
            return CheckResult(False, f"opens with a refusal: {found.group()!r}")
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
        count, (low, high), unit = len(_WORD.findall(answer)), words, "words"
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
    sentences = Counter(
        tuple(_units(part, lang)) for part in _SENTENCE_END[lang].split(answer) if part
    )
    for sentence, times in sentences.items():
        if len(sentence) > 1 and times >= 3:
            text = (" " if lang == "en" else "").join(sentence)
            return CheckResult(False, f"said {times} times: {text!r}")
    units, n = _units(answer, lang), words if lang == "en" else characters
    grams = [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]
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
