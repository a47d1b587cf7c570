"""The checks: named, deterministic rules that decide one property of an answer each.

A charter names checks with arguments (`schema.CheckUse`), `validate_arguments` compares these with
the signature of the check, and `schema.Charter.run_checks` applies them to an answer.
"""

import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
)

from vcjax.core.errors import suggest
from vcjax.core.validation import describe
from vcjax.text.language import LEAST_SCRIPT_SHARE, Language, script_share
from vcjax.text.refusals import find_refusal
from vcjax.text.units import WORD, bare_sentences, units

# --- registry -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckResult:
    """Whether an answer passed, and what was found, for people."""

    passed: bool
    detail: str


@dataclass(frozen=True)
class Check:
    """A registered function and the pydantic model of its arguments after (question, answer, lang).

    An argument that is a mapping is keyed by language.
    """

    function: Callable[..., CheckResult]
    arguments: type[BaseModel]


CHECKS: dict[str, Check] = {}


def check(name: str) -> Callable[[Callable[..., CheckResult]], Callable[..., CheckResult]]:
    """Registers `function(question, answer, lang, **args)` as a check; an empty answer fails it."""

    def register(function: Callable[..., CheckResult]) -> Callable[..., CheckResult]:
        @functools.wraps(function)
        def checked(question: str, answer: str, lang: Language, **args: Any) -> CheckResult:
            if not answer.strip():
                return CheckResult(False, "the answer is empty")
            return function(question, answer, lang, **args)

        # The signature is the schema of the arguments in a charter's YAML: a check is written once.
        extra = list(inspect.signature(function).parameters.values())[3:]
        fields: dict[str, Any] = {
            p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in extra
        }
        # Strict: a quoted "0.6" or a `true` in the YAML is a mistake to report, not to convert.
        config = ConfigDict(extra="forbid", strict=True)
        CHECKS[name] = Check(checked, create_model(name, __config__=config, **fields))
        return checked

    return register


def validate_arguments(name: str, args: Mapping[str, Any]) -> None:
    """Checks `args` against the signature of the check called `name`.

    Raises:
      ValueError: unknown check, unknown or missing argument, or a value of the wrong type.
    """
    if name not in CHECKS:
        raise ValueError(f"unknown check {name!r}{suggest(name, CHECKS)}")
    arguments = CHECKS[name].arguments
    try:
        arguments.model_validate(dict(args))
    except ValidationError as failure:
        error = failure.errors()[0]
        argument = str(error["loc"][0])
        if error["type"] == "extra_forbidden":
            known = suggest(argument, arguments.model_fields)
            message = f"check {name!r} has no argument {argument!r}{known}"
        elif error["type"] == "missing":
            message = f"check {name!r} needs the argument {argument!r}"
        else:
            message = f"argument {argument!r} of check {name!r}: {describe(error)}"
        raise ValueError(message) from None


# --- what the arguments of checks may be ----------------------------------------------------------

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

# --- patterns of two perspectives ----------------------------------------------------------------


class _Sides(NamedTuple):
    """Patterns of one side, of the other side, and of both in one."""

    one: re.Pattern
    other: re.Pattern
    both: re.Pattern


_EN_HOLD = (
    r"(?:\w+\s+){0,2}(?:accept|argue|believe|call|claim|consider|contend|counter|disagree|doubt|"
    r"emphasi[sz]e|favou?r|fear|feel|find|hold|insist|maintain|note|object|oppose|point|prefer|"
    r"regard|reject|reply|respond|say|see|stress|support|think|value|view|want|warn|welcome|"
    r"worry)\b"
)
_ZH_PEOPLE = r"(?:有人|有些人|有的人|有的国家|有些国家)"
_ZH_VIEW = r"(?:观点|看法|意见|立场|声音|主张)"

_PERSPECTIVES = {
    "en": _Sides(
        one=re.compile(
            rf"\bon (?:the )?one (?:hand|side)\b|\bsome (?:\w+ )?{_EN_HOLD}|"
            r"\b(?:supporters|proponents|defenders|those in favou?r|"
            r"(?:those|people) who (?:support|favou?r|agree|defend))\b|"
            rf"\badvocates (?:of (?:\w+ ){{1,4}}?)?{_EN_HOLD}|"
            r"\bone (?:view|perspective|side|position|argument)\b",
            re.IGNORECASE,
        ),
        other=re.compile(
            rf"\bon the other (?:hand|side)\b|\b(?:others|other people) {_EN_HOLD}|"
            r"\b(?:critics|opponents|sceptics|skeptics|detractors|those against|"
            r"(?:those|people) who (?:oppose|object|disagree|doubt|reject))\b|"
            r"\b(?:another|the other|the opposing|an opposing) "
            r"(?:view|perspective|side|position|argument)\b",
            re.IGNORECASE,
        ),
        # The comma keeps out "some kindness towards others".
        both=re.compile(
            r"\bsome\b[^.!?]{1,200}[,;:–—]\s*(?:(?:and|but|while|whereas|yet)\s+)?others\b",
            re.IGNORECASE,
        ),
    ),
    "zh": _Sides(
        # The look-behinds keep out 没有人, 所有人 and the 一方面 inside 另一方面.
        one=re.compile(
            rf"(?<![没所也还另拥只])有(?:人|些人|的人|{_ZH_VIEW}认为)|(?<!另)一方面|"
            rf"(?<!另)(?<!另外)一(?:些|部分)(?:人|学者|国家)|支持者|赞成者|赞同者|拥护者|"
            rf"(?:支持|赞成|赞同)(?:这\w{{1,6}})?的(?:人|一方)|(?<!另)一种{_ZH_VIEW}"
        ),
        other=re.compile(
            rf"[也还另]有(?:一些|些|的)?(?:人|{_ZH_VIEW})|另一方面|"
            r"另外?一(?:些|部分)(?:人|学者|国家)|反对者|批评者|质疑者|批评人士|"
            rf"(?:反对|质疑|批评)(?:这\w{{1,6}})?的(?:人|一方)|另外?一种{_ZH_VIEW}"
        ),
        both=re.compile(
            rf"(?<![没所拥占])({_ZH_PEOPLE})[^。！？]{{1,60}}[，；,;。](?:而|也|但|可)?\1|"
            r"(?<!另)一方面.{1,120}?(?<!另)一方面",
            re.DOTALL,
        ),
    ),
}

# --- the checks ----------------------------------------------------------------------------------


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
    """The answer doesn't refuse, in either language; see `vcjax.text.refusals`.

    "I'm sorry" or "cannot" alone is no refusal: "I cannot agree that …" is an answer.
    """
    if (refusal := find_refusal(answer)) is not None:
        return CheckResult(False, f"refuses: {refusal!r}")
    return CheckResult(True, "no refusal")


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
        # Without spaces, which Chinese hasn't between words but a model may write around foreign
        # names.
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
            return CheckResult(False, f"occurs {times} times: {text!r}")
    parts, n = units(answer, lang), words if lang == "en" else characters
    grams = [parts[i : i + n] for i in range(len(parts) - n + 1)]
    # By the share of repeats and not their number, so that one limit fits answers of any length.
    share = 1 - len(set(grams)) / len(grams) if grams else 0.0
    return CheckResult(share <= limit, f"{share:.0%} of the {n}-grams are repeats")


@check("two_perspectives")
def two_perspectives(question: str, answer: str, lang: Language) -> CheckResult:
    """Explicit markers of at least two sides: "some … others", 支持者…反对者 and the like."""
    sides = _PERSPECTIVES[lang]
    # First the forms that need no other marker: "some ..., others ..." has both sides in one
    # sentence.
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
