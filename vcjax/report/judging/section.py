"""The section of an evaluation's judges: their scores, and how far they can be trusted."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    between,
    capitalised,
    count,
    language_name,
    level,
    listed,
    number,
    signed,
    with_bounds,
)
from vcjax.report.judging.agreement import agreement_blocks
from vcjax.report.judging.planted import planted_blocks
from vcjax.report.measures.tables import number_text, table_blocks, with_reason
from vcjax.report.messages import together, tr
from vcjax.report.page import Block, Section, Table, Text
from vcjax.stats.intervals import Interval


def judges_section(summary: Mapping[str, Any]) -> list[Section]:
    """The section of an evaluation's judges; none without a judge.

    Args:
      summary: what `vcjax.evaluation.run.evaluate` returned.
    """
    if not summary["judges"]:
        return []
    blocks: list[Block] = [_opening(summary), *_each(summary)]
    blocks += planted_blocks(summary) + _lengths(summary)
    if summary["agreement"] is not None:
        blocks += agreement_blocks(summary["agreement"])
    thinned = [
        part
        for block in blocks
        for part in (table_blocks(block) if isinstance(block, Table) else [block])
    ]
    return [Section("judges", tr("How far the judges can be trusted"), thinned)]


def _opening(summary: Mapping[str, Any]) -> Text:
    judges = summary["judges"]
    people = [name for name, own in judges.items() if own["family"] == "human"]
    many = len(judges) > 1
    texts = [
        tr(
            "{judges} judged the answers. The score of an answer is the mean over the judges that "
            "scored it."
            if many
            else "{judges} alone judged.",
            judges=listed(judges),
        )
    ]
    if people:
        texts.append(tr("The scores of {people} are declared as people's.", people=listed(people)))
    elif many:
        texts.append(
            tr("No people's scores stand beside them: judges that agree may be wrong together.")
        )
    else:
        texts.append(
            tr(
                "Nothing here shows whether another judge, or people, would have scored alike: add "
                "a second judge, or people's scores as scores:FILE."
            )
        )
    confidence = level(summary["confidence"])
    return Text(together(*texts, tr("Intervals are of {confidence}.", confidence=confidence)))


def _each(summary: Mapping[str, Any]) -> list[Block]:
    """Every judge's own mean, failures and distribution of scores."""
    judges = summary["judges"]
    rows = []
    for name, own in judges.items():
        for lang, record in own["languages"].items():
            worst, best = (record[f"unscored_as_{end}"]["mean"] for end in (0, 5))
            rows.append(
                (
                    name,
                    language_name(lang),
                    number_text(record, "mean"),
                    between(number(worst), number(best)),
                    count(record["scored"]),
                    count(record["unscored"]),
                )
            )
    blocks: list[Block] = [
        Table(
            tr(
                "Each judge's mean score. Bounds: as if every verdict that is missing had been the "
                "lowest score, or the highest."
            ),
            (
                tr("Judge"),
                tr("Answers in"),
                tr("Mean"),
                tr("Bounds"),
                tr("Scored"),
                tr("Unscored"),
            ),
            rows,
            labels=2,
        )
    ]
    scores = sorted({score for own in judges.values() for score in own["scores"]}, key=float)
    # The six whole scores. Means of several samples are too many for columns.
    if len(scores) <= 6:
        cells = [
            (name, *(count(own["scores"].get(score, 0)) for score in scores), count(own["failed"]))
            for name, own in judges.items()
        ]
        caption = tr("How often each score was given, and how many verdicts failed.")
        blocks.append(Table(caption, (tr("Judge"), *scores, tr("Failed")), cells))
    failed = [(name, own["unscored"]) for name, own in judges.items() if own["failed"]]
    blocks += [
        Text(
            tr(
                "Why {name} has no score: {reasons}.",
                name=name,
                reasons=listed(with_reason(times, reason) for reason, times in reasons.items()),
            )
        )
        for name, reasons in failed
    ]
    return blocks + _axes(judges)


def _lengths(summary: Mapping[str, Any]) -> list[Block]:
    slopes = {
        name: Interval.of(own["length"])
        for name, own in summary["judges"].items()
        if own.get("length") is not None and own["length"]["value"] is not None
    }
    if not slopes:
        return []
    changes = [
        tr("{change} by {name}", change=with_bounds(each, signed), name=name)
        for name, each in slopes.items()
    ]
    return [
        Text(
            tr(
                "Length: each doubling of an answer's length goes with a change of its score, "
                "among answers of one domain and language, of {changes}. Longer answers may be "
                "better ones: this is a bias only as far as they aren't.",
                changes=listed(changes),
            )
        )
    ]


def _axes(judges: Mapping[str, Any]) -> list[Block]:
    rows = [
        (
            name,
            language_name(lang),
            *(with_bounds(Interval.of(record, "mean"), number) for record in axes.values()),
        )
        for name, own in judges.items()
        for lang, axes in (own["axes"] or {}).items()
    ]
    if not rows:
        return []
    # The same ones for every judge and language.
    axes = next(axes for own in judges.values() for axes in (own["axes"] or {}).values())
    caption = tr(
        "Apart from the whole score: how far answers keep to the charter, take care of facts, "
        "help, and refuse (0 never, 5 outright)."
    )
    head = (tr("Judge"), tr("Answers in"), *map(capitalised, axes))
    return [Table(caption, head, rows, labels=2)]
