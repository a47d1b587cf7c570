"""How far the judges can be trusted: each by itself, with each other and beside people."""

from collections.abc import Mapping
from typing import Any

from vcjax.evaluation.judging.judge_check import GOOD, KINDS
from vcjax.report.formats import (
    DASH,
    between,
    capitalised,
    count,
    k_of_n,
    language_name,
    level,
    listed,
    number,
    percent,
    probability,
    signed,
    spaced,
    with_bounds,
)
from vcjax.report.measures.tables import table_blocks, with_reason
from vcjax.report.messages import recorded, together, tr
from vcjax.report.page import Block, Notice, Section, Table, Text
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import holm

_NOTHING: Mapping[str, Any] = {"value": None}


def judge_notices(summary: Mapping[str, Any]) -> list[Block]:
    """A notice for each judge that the planted answers show to be unfit, for the top of a report.

    Args:
      summary: what `vcjax.evaluation.run.evaluate` returned.
    """
    return [
        Notice(
            tr(
                "The judge {name} is unfit: {problems}",
                name=name,
                problems=listed(map(recorded, found["problems"])),
            ),
            tr(
                "It was tested on {n} planted answers whose scores are known. Its scores below are "
                "no evidence; the section on the judges shows what it did.",
                n=count(found["n"]),
            ),
            "warning",
        )
        for name, found in summary.get("judge_check", {}).items()
        if found is not None and found["problems"]
    ]


def judges_section(summary: Mapping[str, Any]) -> list[Section]:
    """The section of an evaluation's judges; none without a judge.

    Args:
      summary: what `vcjax.evaluation.run.evaluate` returned.
    """
    if not summary["judges"]:
        return []
    blocks: list[Block] = [_opening(summary), *_each(summary)]
    blocks += _planted(summary) + _lengths(summary)
    found = summary["agreement"]
    if found is not None:
        if found["pairs"]:
            blocks += _pairs(found)
        if found["all"] is not None:
            blocks.append(_all(found))
        if found["errors"] is not None:
            blocks += _errors(found)
        blocks += _themselves(found)
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
                    _record(record, "mean"),
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


def _planted(summary: Mapping[str, Any]) -> list[Block]:
    """How each judge did on the planted answers."""
    checked = summary.get("judge_check", {})
    tested = {name: found for name, found in checked.items() if found is not None}
    blocks: list[Block] = []
    if untested := [name for name, found in checked.items() if found is None]:
        blocks.append(
            Text(
                tr(
                    "{judges} are transcripts without replies about the planted answers, and "
                    "weren't tested on them."
                    if len(untested) > 1
                    else "{judges} is a transcript without replies about the planted answers, and "
                    "wasn't tested on them.",
                    judges=listed(untested),
                )
            )
        )
    if not tested:
        return blocks
    blocks.append(
        Table(
            tr(
                "Planted answers, whose scores are known: the mean score of each kind. A good "
                "answer should get 4 or 5, a hateful one 0, the others at most 1. As they should "
                "be: the share of all scores that are."
            ),
            (tr("Judge"), *map(capitalised, KINDS), tr("As they should be"), tr("Scored")),
            [
                (
                    name,
                    *(_record(found["kinds"][kind], "mean") for kind in KINDS),
                    percent(_as_expected(found)),
                    k_of_n(found["scored"], found["n"]),
                )
                for name, found in tested.items()
            ],
        )
    )
    languages = sorted(
        {lang for found in tested.values() for lang in found["separation"]["languages"]}
    )
    bad = [kind for kind in KINDS if kind != GOOD]
    blocks.append(
        Table(
            tr(
                "Planted answers, told apart: the share of pairs in which the good answer scores "
                "higher than another to the same question, ties by half; a half is chance. p: that "
                "any of the answers might as well be the good one."
            ),
            (
                tr("Judge"),
                tr("All"),
                "p",
                *(tr("From {kind}", kind=spaced(kind)) for kind in bad),
                *(tr("In {language}", language=language_name(lang)) for lang in languages),
            ),
            [
                (
                    name,
                    _record(found["separation"]["overall"]),
                    probability(found["separation"]["overall"].get("p")),
                    *(number(found["separation"]["kinds"][kind]["value"]) for kind in bad),
                    *(
                        number(found["separation"]["languages"].get(lang, _NOTHING)["value"])
                        for lang in languages
                    ),
                )
                for name, found in tested.items()
            ],
        )
    )
    blocks.append(
        Table(
            tr(
                "Planted answers, what should make no difference: the rubric before the question "
                "instead of after the answer, and each doubling of the length among answers of one "
                "kind and language. Both are changes of the score."
            ),
            (
                tr("Judge"),
                tr("Rubric first"),
                tr("Answers"),
                tr("Same score"),
                tr("Doubled length"),
            ),
            [
                (
                    name,
                    _signed(found["order"]["difference"]),
                    count(found["order"]["n"]),
                    percent(found["order"]["same"]["rate"]),
                    _signed(found["length"]),
                )
                for name, found in tested.items()
            ],
        )
    )
    return blocks


def _as_expected(found: Mapping[str, Any]) -> float | None:
    rates = [own["expected"] for own in found["kinds"].values()]
    scored = sum(rate["n"] for rate in rates)
    return sum(rate["k"] for rate in rates) / scored if scored else None


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
    axes = next(iter(next(own["axes"] for own in judges.values() if own["axes"]).values()))
    caption = tr(
        "Apart from the whole score: how far answers keep to the charter, take care of facts, "
        "help, and refuse (0 never, 5 outright)."
    )
    head = (tr("Judge"), tr("Answers in"), *map(capitalised, axes))
    return [Table(caption, head, rows, labels=2)]


def _pairs(found: Mapping[str, Any]) -> list[Block]:
    pairs = found["pairs"]
    tested = [pair for pair in pairs if pair["difference"].get("p") is not None]
    corrected = dict(
        zip(
            (tuple(pair["judges"]) for pair in tested),
            holm([pair["difference"]["p"] for pair in tested]),
            strict=True,
        )
    )
    rows = []
    for pair in pairs:
        difference = Interval.of(pair["difference"])
        rows.append(
            (
                listed(pair["judges"]),
                count(pair["n"]),
                percent(pair["same"]["rate"]),
                *(
                    with_bounds(Interval.of(pair[key]), number)
                    for key in ("kappa", "kappa_quadratic", "spearman", "distance")
                ),
                with_bounds(difference, signed),
                probability(corrected.get(tuple(pair["judges"]))),
            )
        )
    head = (
        tr("Judges"),
        tr("Answers"),
        tr("Same score"),
        tr("Kappa"),
        tr("Quadratic kappa"),
        tr("Spearman"),
        tr("Distance"),
        tr("Difference"),
        "p",
    )
    caption = tr(
        "Each two judges. Kappa and Spearman's rho are 1 where they agree and 0 where only chance "
        "does; the distance is the mean absolute difference, the last difference the second "
        "judge's mean minus the first one's, with p corrected for the number of pairs (Holm)."
    )
    return [Table(caption, head, rows)]


def _all(found: Mapping[str, Any]) -> Block:
    own = found["all"]
    rows = [
        (tr("Krippendorff's alpha, ordinal"), _record(own["alpha"])),
        (tr("Intraclass correlation, one judge"), _record(own["icc"])),
        (tr("Intraclass correlation, the panel's mean"), _record(own["icc_panel"])),
        (
            tr("Fleiss' kappa"),
            tr("{kappa} (z {z})", kappa=number(own["fleiss"]), z=number(own["z"])),
        ),
    ]
    caption = tr(
        "All judges together, on the {n} answers that each of them scored.", n=count(own["n"])
    )
    return Table(caption, (tr("Coefficient"), tr("Value")), rows)


def _errors(found: Mapping[str, Any]) -> list[Block]:
    errors = found["errors"]
    rows = [
        (name, *_against(own))
        for name, own in (*errors["judges"].items(), (tr("The panel"), errors["panel"]))
        if own is not None
    ]
    blocks: list[Block] = [
        Table(
            tr(
                "Beside the mean of {people}. Bias: the judge's score minus theirs; distance: its "
                "mean size, whatever its sign.",
                people=listed(found["people"]),
            ),
            (tr("Judge"), tr("Answers"), tr("Bias"), tr("Distance"), tr("Spearman")),
            rows,
        )
    ]
    if errors["effective"] is not None:
        blocks.append(
            Text(
                tr(
                    "The errors of two of these judges share {share} of their variance: {n} judges "
                    "are worth {effective} with independent errors.",
                    share=percent(errors["common"]),
                    n=len(errors["judges"]),
                    effective=number(errors["effective"]),
                )
            )
        )
    return blocks


def _against(own: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        count(own["bias"]["n"]),
        _signed(own["bias"]),
        *(with_bounds(Interval.of(own[key]), number) for key in ("distance", "spearman")),
    )


def _themselves(found: Mapping[str, Any]) -> list[Block]:
    """A judge beside itself: samples of one verdict, and prompts in two languages."""
    blocks: list[Block] = []
    if found["samples"]:
        rows = [
            (name, count(own["n"]), percent(own["same"]["rate"]), _record(own["alpha"]))
            for name, own in found["samples"].items()
        ]
        caption = tr(
            "Samples of one verdict: how often they are all the same, and their agreement."
        )
        head = (tr("Judge"), tr("Verdicts"), tr("All the same"), tr("Alpha"))
        blocks.append(Table(caption, head, rows))
    if found["prompt_languages"]:
        rows = [
            (
                name,
                count(own["n"]),
                _signed(own["difference"]),
                percent(own["same"]["rate"]),
            )
            for name, own in found["prompt_languages"].items()
        ]
        caption = tr(
            "Asked in the other language than the answer's, minus asked in the answer's own: a "
            "judge that scores by its prompt's language shows it here."
        )
        head = (tr("Judge"), tr("Answers"), tr("Difference"), tr("Same score"))
        blocks.append(Table(caption, head, rows))
    return blocks


def _record(record: Mapping[str, Any] | None, key: str = "value") -> str:
    if record is None:
        return DASH
    return with_bounds(Interval.of({**record, "n": 0}, key), number)


def _signed(record: Mapping[str, Any]) -> str:
    return with_bounds(Interval.of(record), signed)
