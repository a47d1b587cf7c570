"""Tables and plots of compared runs: scores, and differences by language, domain and rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.evaluation.comparison.differences import LEAST_CLUSTERS
from vcjax.report.comparison.wording import (
    SUBJECTS,
    in_points,
    is_share,
    language,
    languages_of,
    odds,
    of_languages,
    size,
    unit_of,
)
from vcjax.report.formats import (
    DASH,
    bounds,
    capitalised,
    check_labels,
    count,
    number,
    percent,
    points,
    probability,
    signed,
)
from vcjax.report.page import Block, Figure, Figures, Table, Text, prose
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import MINIMUM_PAIRS, TOO_FEW

_HEAD = ("Reading", "Difference", "Interval", "p", "p corrected", "Detectable")


def scores(comparison: Mapping[str, Any]) -> list[Block]:
    table, published = comparison["table"], comparison["published"]
    names = [run["name"] for run in comparison["runs"]]
    judged = table["measure"] == "judge"
    # Its scale is the charter's; the published numbers mean nothing beside other scores.
    beside = judged and comparison["scale"] == [0, 5]
    blocks: list[Block] = []
    for lang, own in table["languages"].items():
        rows = [_score_row(comparison, "All domains", own, names)]
        rows += [
            _score_row(comparison, capitalised(domain) or DASH, cell, names)
            for domain, cell in own["domains"].items()
        ]
        if len(rows) == 2:
            rows = rows[:1]
        head = ["Domain", *names, "Questions"]
        what = "Mean score, and total" if judged else "Share that passes every check, and number"
        caption = (
            f"{language(lang)}. {what}, of the questions that every run has a value of. The "
            "columns are in the order in which the runs were named, which is no ranking."
        )
        if beside and lang in published["languages"]:
            head.insert(-1, f"{published['name']}*")
            cell = published["languages"][lang]
            rows[0].insert(-1, f"{number(cell['mean'])} ({count(cell['total'])})")
            for row in rows[1:]:
                row.insert(-1, DASH)
            caption += (
                f" * {published['source']}: {count(published['questions'])} other questions, "
                "another judge and rubric; for orientation, and comparable with no column here."
            )
        blocks.append(Table(caption, head, rows))
    return blocks


def _score_row(
    comparison: Mapping[str, Any], label: str, cell: Mapping[str, Any], names: Sequence[str]
) -> list[str]:
    show = percent if is_share(comparison, comparison["table"]["measure"]) else number
    cells = [cell["runs"][name] for name in names]
    shown = [f"{show(each['mean'])} ({_total(each['total'])})" for each in cells]
    return [label, *shown, count(cell["n"])]


def _total(total: float) -> str:
    return count(total) if float(total).is_integer() else number(total, 1)


def differences(comparison: Mapping[str, Any]) -> list[Block]:
    if not comparison["families"]:
        return []
    blocks: list[Block] = [
        Text(
            f"{_units(comparison)} “Detectable” is the smallest true difference that this "
            f"benchmark would have found with a probability of {comparison['power']:.0%}, after "
            "the correction: where no change is clear, a smaller one may well be there. Effect: "
            "of scores, the difference in standard deviations of the pairs (d, with Hedges' "
            "correction); of rates, the odds ratio: questions gained for each that was lost."
        )
    ]
    for measure in comparison["measures"]:
        rows = []
        for name, lang, which, record in of_languages(comparison):
            if which == measure:
                label = f"{name}, {language(lang)}"
                rows.append([label, *_cells(comparison, measure, record, effect=True)])
        if rows:
            head = ("Run", *_HEAD, "Effect", "Before", "After", "Pairs")
            caption = f"{SUBJECTS[measure]}, paired{in_points(comparison, measure)}."
            blocks.append(Table(caption, head, rows, labels=2))
    return blocks


def _units(comparison: Mapping[str, Any]) -> str:
    if comparison["questions"]["domains"] >= LEAST_CLUSTERS:
        return (
            "Questions of one domain are alike and count for less than their number, so that the "
            "intervals cover other domains like these, too."
        )
    return (
        "The versions of one question in several languages are alike and count for less than their "
        "number. The domains are too few to be units: the intervals cover other questions on them."
    )


def domains(comparison: Mapping[str, Any]) -> list[Block]:
    measure = comparison["measures"][0]
    show_share = is_share(comparison, measure)
    figures, tables = [], []
    for number_, (name, own) in enumerate(comparison["comparisons"].items()):
        if len(own["domains"]) < 2:
            continue
        for lang in languages_of(own):
            parts = {d: each[lang][measure] for d, each in own["domains"].items() if lang in each}
            rows = [
                Row(_starred(comparison, d), [Interval.of(r, "difference")])
                for d, r in parts.items()
            ]
            title = f"{name}, {language(lang)}"
            ends = [abs(end) for row in rows for end in row.intervals[0].bounds or (0,)]
            reach = _reach(max(ends), show_share)
            svg = interval_plot(
                f"domains-{number_}-{lang}", title, ["after"], rows, low=-reach, high=reach
            )
            figures.append(Figure(f"{SUBJECTS[measure]}, difference by domain.", svg))
            if any(record.get("reading", TOO_FEW) != TOO_FEW for record in parts.values()):
                cells = [
                    [_starred(comparison, d), *_cells(comparison, measure, r)]
                    for d, r in parts.items()
                ]
                head = ("Domain", *_HEAD, "Before", "After", "Pairs")
                tables.append(
                    Table(f"{title}{in_points(comparison, measure)}.", head, cells, labels=2)
                )
    if not figures:
        return []
    lead = (
        f"A line is a {comparison['confidence']:.0%} interval by itself, in which the versions of "
        "one question count as alike. Fewer than "
        f"{MINIMUM_PAIRS} pairs aren't tested. Where no difference is detectable, not even a run "
        "with the best or the worst score of the scale everywhere would have been found to differ."
    )
    if comparison["held_out"]:
        lead += " Domains with a star are held out: no training question came from them."
    return [Text(lead), Figures(figures), *tables]


def _starred(comparison: Mapping[str, Any], domain: str) -> str:
    return capitalised(domain) + "*" * (domain in comparison["held_out"])


def _reach(most: float, share: bool) -> float:
    """An end of the axis that has room for the intervals, and round ticks."""
    steps = (0.1, 0.2, 0.5, 1.0) if share else (0.5, 1.0, 2.5, 5.0)
    return next((step for step in steps if most <= step), max(most, steps[-1]))


def checks(comparison: Mapping[str, Any]) -> list[Block]:
    if "all_checks" not in comparison["measures"]:
        return []
    blocks: list[Block] = []
    for name, own in comparison["comparisons"].items():
        for lang, parts in own["languages"].items():
            labels = check_labels(parts["checks"])
            rows = []
            for key, record in parts["checks"].items():
                change = Interval.of(record, "difference")
                cells = (points(change.value), bounds(change, points), probability(change.p))
                sides = (percent(record["before"]), percent(record["after"]))
                ratio = odds(record["odds_ratio"])
                rows.append((labels[key], *cells, ratio, *sides, count(change.n)))
            head = (
                "Check",
                "Difference",
                "Interval",
                "p",
                "Odds ratio",
                "Before",
                "After",
                "Pairs",
            )
            if rows:
                blocks.append(Table(f"{name}, {language(lang)}; in points.", head, rows))
    if not blocks:
        return []
    lead = (
        "Described only: these belong to no family of tests, and p is that of each check by "
        "itself: among many checks a small one comes by chance."
    )
    return [prose("checks", trained_on=False), Text(lead), *blocks]


def _cells(
    comparison: Mapping[str, Any], measure: str, record: Mapping[str, Any], effect: bool = False
) -> list[str]:
    """Under _HEAD; the effect size if wanted; before, after and the number of pairs."""
    change = Interval.of(record, "difference")
    show, _ = unit_of(comparison, measure)
    level = percent if is_share(comparison, measure) else number
    cells = [
        record.get("reading", DASH),
        show(change.value),
        bounds(change, show),
        probability(change.p),
        probability(record.get("p_corrected")),
        size(comparison, measure, record.get("detectable")),
    ]
    if effect:
        is_score = measure == "judge"
        cells.append(signed(record["standardised"]) if is_score else odds(record["odds_ratio"]))
    return [*cells, level(record["before"]), level(record["after"]), count(change.n)]
