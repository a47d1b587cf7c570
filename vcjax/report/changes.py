"""What paired differences allow to be stated, in plain words, and nothing beyond that."""

from typing import Any

from vcjax.report.formats import bounds, count, language_name, points, signed
from vcjax.report.page import Block, Notice, Section, Text
from vcjax.stats.intervals import Interval

MINIMUM_PAIRS = 10
"""With fewer a bootstrap of the pairs is no guide: a handful of equal differences has no width."""

NO_CHANGE = "no measurable change"
_UNKNOWN = "too few pairs to say"
_TONES = {"higher": "up", "lower": "down", NO_CHANGE: "flat", _UNKNOWN: "flat"}


def reading(difference: Interval) -> str:
    """`higher`, `lower`, `no measurable change` or `too few pairs to say`.

    An interval that includes zero, at its very end too, is no measurable change.
    """
    if difference.low is None or difference.high is None or difference.n < MINIMUM_PAIRS:
        return _UNKNOWN
    # Strictly: an interval that ends at zero is compatible with no change.
    if difference.low > 0:
        return "higher"
    if difference.high < 0:
        return "lower"
    return NO_CHANGE


def sentence(subject: str, difference: Interval, level: str, share: bool) -> str:
    """One sentence on a difference (after - before); `share` has it in percentage points."""
    show, unit = (points, " points") if share else (signed, "")
    read = reading(difference)
    if read == _UNKNOWN:
        questions = "question" if difference.n == 1 else "questions"
        return (
            f"{subject}: {_UNKNOWN} ({count(difference.n)} {questions} compared; "
            f"at least {MINIMUM_PAIRS} are needed)."
        )
    after = read if read == NO_CHANGE else f"{read} after alignment"
    return (
        f"{subject}: {after} ({show(difference.value)}{unit}, {level} interval "
        f"{bounds(difference, show)}, {count(difference.n)} questions compared)."
    )


def change_cells(record: dict[str, Any], share: bool) -> tuple[str, str, str]:
    """Cells of a paired difference: reading, difference, interval; shares in percentage points."""
    difference, show = Interval.of(record, "difference"), points if share else signed
    return reading(difference), show(difference.value), bounds(difference, show)


def verdict_section(comparison: dict[str, Any], same_family: bool | None, level: str) -> Section:
    """How the judge's mean and the checks have changed, for each language.

    Args:
      comparison: what `vcjax.evaluation.summary.compare` returned.
      same_family: whether the judge is of the model's family; None where there is no judge.
      level: the confidence of the intervals, e.g. `95%`.
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
    text = _sentences("Answers that pass every rule check", "all_checks", parts, held_out, level)
    read = reading(Interval.of(parts["all_checks"], "difference"))
    return Notice(f"{language_name(code)}, rule checks: {read}", text, _TONES[read])


def _judge_notice(
    code: str,
    parts: dict[str, Any],
    held_out: dict[str, Any] | None,
    same_family: bool | None,
    level: str,
) -> Notice:
    name = f"{language_name(code)}, judge"
    if same_family is None:
        return Notice(f"{name}: not judged", "No judge scored the answers of this run.")
    text = _sentences("Mean score", "judge", parts, held_out, level)
    unpaired = parts["judge"]["unpaired"]
    if unpaired:
        text += (
            f" {count(unpaired)} of the questions have no score before or none after and are left "
            "out; if those differ from the rest, so may the result."
        )
    read = reading(Interval.of(parts["judge"], "difference"))
    if same_family:
        # Not coloured as good or bad news: it is neither.
        return Notice(f"{name} of the model's family, not evidence of quality: {read}", text)
    return Notice(f"{name}: {read}", text, _TONES[read])


def _sentences(
    subject: str,
    measure: str,
    parts: dict[str, Any],
    held_out: dict[str, Any] | None,
    level: str,
) -> str:
    """On all questions, then on those whose domains were never trained on."""
    share = measure == "all_checks"
    sentences = [sentence(subject, Interval.of(parts[measure], "difference"), level, share)]
    if held_out is not None:
        alone = Interval.of(held_out[measure], "difference")
        sentences.append(sentence("Held-out domains alone", alone, level, share))
    return " ".join(sentences)
