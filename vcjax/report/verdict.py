"""What the paired intervals allow to be said, in plain words, and nothing beyond it."""

from typing import Any

from vcjax.report.blocks import Block, Notice, Section, Text
from vcjax.report.estimates import Estimate
from vcjax.report.names import language
from vcjax.report.numbers import count, interval, points, signed

# Below this a bootstrap of the pairs is no guide: a handful of equal differences has no width.
MINIMUM_PAIRS = 10

NO_CHANGE = "no measurable change"
_UNKNOWN = "too few pairs to say"


def reading(difference: Estimate) -> str:
    """`higher`, `lower`, `no measurable change` or `too few pairs to say`.

    An interval that includes zero, at its very end too, is no measurable change.
    """
    if difference.low is None or difference.high is None or difference.n < MINIMUM_PAIRS:
        return _UNKNOWN
    if difference.low > 0:
        return "higher"
    if difference.high < 0:
        return "lower"
    return NO_CHANGE


def sentence(subject: str, difference: Estimate, level: str, share: bool) -> str:
    """One sentence on a difference (after - before); `share` has it in percentage points."""
    show, unit = (points, " points") if share else (signed, "")
    said = reading(difference)
    if said == _UNKNOWN:
        questions = "question" if difference.n == 1 else "questions"
        return (
            f"{subject}: {_UNKNOWN} ({count(difference.n)} {questions} compared; "
            f"at least {MINIMUM_PAIRS} are needed)."
        )
    after = said if said == NO_CHANGE else f"{said} after alignment"
    return (
        f"{subject}: {after} ({show(difference.value)}{unit}, {level} interval "
        f"{interval(difference.low, difference.high, show)}, "
        f"{count(difference.n)} questions compared)."
    )


def verdict_section(comparison: dict[str, Any], same_family: bool | None, level: str) -> Section:
    """The verdict on the judge's mean and on the checks, for each language.

    Args:
      comparison: what `vcjax.evaluation.summary.compare` returned.
      same_family: whether the judge is of the model's family; None where there is no judge.
    """
    blocks: list[Block] = [
        Text(
            f"Read from the {level} intervals of the paired differences alone, after minus before, "
            "question by question. Where an interval includes zero, the run shows no measurable "
            "change, whatever the two averages are."
        )
    ]
    for code, parts in comparison["languages"].items():
        held_out = comparison["held_out"].get(code)
        blocks.append(_checks_notice(code, parts, held_out, level))
        blocks.append(_judge_notice(code, parts, held_out, same_family, level))
    return Section("verdict", "Verdict", blocks)


def _checks_notice(
    code: str, parts: dict[str, Any], held_out: dict[str, Any] | None, level: str
) -> Notice:
    said = _sentences("Answers that pass every rule check", "all_checks", parts, held_out, level)
    read = reading(Estimate.of(parts["all_checks"], "difference"))
    return Notice(f"{language(code)}, rule checks: {read}", said, _TONES[read])


def _judge_notice(
    code: str,
    parts: dict[str, Any],
    held_out: dict[str, Any] | None,
    same_family: bool | None,
    level: str,
) -> Notice:
    title = f"{language(code)}, judge"
    if same_family is None:
        return Notice(f"{title}: not judged", "No judge scored the answers of this run.")
    said = _sentences("Mean score", "judge", parts, held_out, level)
    unpaired = parts["judge"]["unpaired"]
    if unpaired:
        said += (
            f" {count(unpaired)} of the questions have no score before or none after and are left "
            "out; if those differ from the rest, so may the result."
        )
    read = reading(Estimate.of(parts["judge"], "difference"))
    if same_family:
        # Not coloured as good or bad news: it is neither.
        return Notice(f"{title} of the model's family, not evidence of quality: {read}", said)
    return Notice(f"{title}: {read}", said, _TONES[read])


def _sentences(
    subject: str,
    measure: str,
    parts: dict[str, Any],
    held_out: dict[str, Any] | None,
    level: str,
) -> str:
    """What is said of all questions, then of those whose domains were never trained on."""
    share = measure == "all_checks"
    said = [sentence(subject, Estimate.of(parts[measure], "difference"), level, share)]
    if held_out is not None:
        alone = Estimate.of(held_out[measure], "difference")
        said.append(sentence("Held-out domains alone", alone, level, share))
    return " ".join(said)


def change_cells(record: dict[str, Any], share: bool) -> tuple[str, str, str]:
    """Cells of a paired difference: reading, difference, interval; shares in percentage points."""
    difference, show = Estimate.of(record, "difference"), points if share else signed
    bounds = interval(difference.low, difference.high, show)
    return reading(difference), show(difference.value), bounds


_TONES = {"higher": "up", "lower": "down", NO_CHANGE: "flat", _UNKNOWN: "flat"}
