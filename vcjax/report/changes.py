"""What paired differences allow to be stated, in plain words, and nothing beyond that."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import bounds, count, language_name, points, probability, signed
from vcjax.report.messages import commas, message, recorded, together, tr
from vcjax.report.page import Block, Notice, Section, Text
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import MINIMUM_PAIRS, NO_CHANGE, TOO_FEW, UNTESTED, readings

Readings = Mapping[tuple[str, ...], str]
"""By group (`languages`, `trained`, `held_out`), language and measure, or of a single check by
`languages`, language, `checks` and the check's key."""

TONES = {"higher": "up", "lower": "down", NO_CHANGE: "flat", TOO_FEW: "flat", UNTESTED: "flat"}

GROUPS = {
    "languages": message("all questions"),
    "trained": message("trained domains"),
    "held_out": message("held-out"),
}


def comparison_readings(comparison: Mapping[str, Any], confidence: float) -> Readings:
    """The reading of every difference that a report of this comparison prints.

    Args:
      comparison: what `vcjax.evaluation.comparison.differences.compare` returned.
    """
    printed: dict[tuple[str, ...], Interval] = {}
    for code, parts in comparison["languages"].items():
        # Only what is printed: Holm's method corrects for the number of differences, and one that
        # nobody sees would make the others harder to find.
        for group in printed_groups(comparison, code):
            for measure in ("judge", "all_checks"):
                record = comparison[group][code][measure]
                printed[group, code, measure] = Interval.of(record, "difference")
        for check, record in parts["checks"].items():
            printed["languages", code, "checks", check] = Interval.of(record, "difference")
    return readings(printed, confidence)


def printed_groups(comparison: Mapping[str, Any], code: str) -> list[str]:
    """All questions of a language, and those of trained and of held-out domains if it has both:
    otherwise the one is all questions once more."""
    parts = [group for group in ("trained", "held_out") if code in comparison[group]]
    return ["languages", *parts] if len(parts) == 2 else ["languages"]


def correction(found: Readings, level: str) -> str:
    """How the words follow from the numbers, in sentences.

    Args:
      level: the confidence of the intervals, e.g. `95%`.
    """
    # Those that `vcjax.stats.multiplicity.corrected` counts.
    tested = sum(read not in (TOO_FEW, UNTESTED) for read in found.values())
    return tr(
        "Every interval is at {level} by itself, and every p as well; questions of one domain are "
        "alike and count for less than their number. The words “higher” and “lower” follow p "
        "corrected by Holm's method for all {n} differences of this report that have enough pairs: "
        "where nothing changed, all of the report is without these words with a probability of "
        "{level} or more. So a difference may be no clear change although its interval excludes "
        "zero.",
        level=level,
        n=count(tested),
    )


def sentence(subject: str, difference: Interval, read: str, level: str, share: bool) -> str:
    """One sentence on a difference (after - before) that reads `read`; `share` has it in percentage
    points."""
    show = points if share else signed
    finding = recorded(read)
    if read == TOO_FEW:
        return tr(
            "{subject}: {finding} ({n} question compared; at least {least} are needed)."
            if difference.n == 1
            else "{subject}: {finding} ({n} questions compared; at least {least} are needed).",
            subject=subject,
            finding=finding,
            n=count(difference.n),
            least=MINIMUM_PAIRS,
        )
    if read in ("higher", "lower"):
        finding = tr("{finding} after alignment", finding=finding)
    change = show(difference.value)
    return tr(
        "{subject}: {finding} ({change}, {level} interval {bounds}, {n} questions compared).",
        subject=subject,
        finding=finding,
        change=tr("{change} points", change=change) if share else change,
        level=level,
        bounds=bounds(difference, show),
        n=count(difference.n),
    )


def change_head() -> tuple[str, ...]:
    """Heads of the columns of `change_cells`."""
    return tr("Reading"), tr("Difference"), tr("Interval"), "p"


def change_cells(record: dict[str, Any], read: str, share: bool) -> tuple[str, ...]:
    """Cells of a paired difference, under `change_head`; shares in percentage points."""
    difference, show = Interval.of(record, "difference"), points if share else signed
    return (
        recorded(read),
        show(difference.value),
        bounds(difference, show),
        probability(difference.p),
    )


def verdict_section(
    comparison: dict[str, Any], same_family: bool | None, confidence: float
) -> Section:
    """How the judge's mean and the checks have changed, for each language.

    Args:
      comparison: what `vcjax.evaluation.comparison.differences.compare` returned.
      same_family: whether the judge is of the model's family; None where there is no judge.
      confidence: of the intervals.
    """
    found, level = comparison_readings(comparison, confidence), f"{confidence:.0%}"
    blocks: list[Block] = [
        Text(
            together(
                tr(
                    "Read from the paired differences alone, after minus before, question by "
                    "question."
                ),
                correction(found, level),
            )
        )
    ]
    for code in comparison["languages"]:
        blocks.append(_checks_notice(comparison, code, found, level))
        blocks.append(_judge_notice(comparison, code, found, same_family, level))
    return Section("verdict", tr("Verdict"), blocks)


def _checks_notice(comparison: Mapping[str, Any], code: str, found: Readings, level: str) -> Notice:
    subject = tr("Answers that pass every rule check")
    text = _sentences(comparison, code, found, subject=subject, measure="all_checks", level=level)
    read = found["languages", code, "all_checks"]
    return Notice(_title(commas(language_name(code), tr("rule checks")), read), text, TONES[read])


def _title(subject: str, read: str) -> str:
    return tr("{subject}: {finding}", subject=subject, finding=recorded(read))


def _judge_notice(
    comparison: Mapping[str, Any],
    code: str,
    found: Readings,
    same_family: bool | None,
    level: str,
) -> Notice:
    name = commas(language_name(code), tr("judge"))
    if same_family is None:
        title = tr("{subject}: {finding}", subject=name, finding=tr("not judged"))
        return Notice(title, tr("No judge scored the answers of this run."))
    text = _sentences(
        comparison, code, found, subject=tr("Mean score"), measure="judge", level=level
    )
    unpaired = comparison["languages"][code]["judge"]["unpaired"]
    if unpaired:
        left_out = tr(
            "{n} of the questions have no score before or none after and are left out; if those "
            "differ from the rest, so may the result.",
            n=count(unpaired),
        )
        text = together(text, left_out)
    read = found["languages", code, "judge"]
    if same_family:
        # Not coloured as good or bad news: it is neither.
        of_family = tr("{judge} of the model's family, not evidence of quality", judge=name)
        return Notice(_title(of_family, read), text)
    return Notice(_title(name, read), text, TONES[read])


def _sentences(
    comparison: Mapping[str, Any],
    code: str,
    found: Readings,
    *,
    subject: str,
    measure: str,
    level: str,
) -> str:
    """On all questions, then on those whose domains were never trained on."""

    def of(group: str, subject: str) -> str:
        difference = Interval.of(comparison[group][code][measure], "difference")
        read = found[group, code, measure]
        return sentence(subject, difference, read, level, share=measure == "all_checks")

    sentences = [of("languages", subject)]
    if "held_out" in printed_groups(comparison, code):
        sentences.append(of("held_out", tr("Held-out domains alone")))
    return together(*sentences)
