"""Tables and plots of compared runs: scores, and differences by language, domain and rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.evaluation.comparison.differences import LEAST_CLUSTERS
from vcjax.report.comparison.wording import (
    SUBJECTS,
    beside_the_paper,
    captioned,
    is_share,
    language,
    languages_of,
    odds,
    of_languages,
    run_in,
    shown_as,
    size,
)
from vcjax.report.formats import (
    DASH,
    bounds,
    capitalised,
    check_labels,
    count,
    level,
    number,
    percent,
    points,
    probability,
    signed,
)
from vcjax.report.measures.tables import table_blocks
from vcjax.report.messages import recorded, together, tr
from vcjax.report.page import Block, Figure, Figures, Table, Text, prose
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import MINIMUM_PAIRS, TOO_FEW


def difference_head(*more: str) -> tuple[str, ...]:
    """Above `difference_cells`; `more` stands before the columns of the two sides."""
    change = (tr("Reading"), tr("Difference"), tr("Interval"), "p", tr("p corrected"))
    return *change, tr("Detectable"), *more, tr("Before"), tr("After"), tr("Pairs")


def scores(comparison: Mapping[str, Any]) -> list[Block]:
    table, published = comparison["table"], comparison["published"]
    names = [run["name"] for run in comparison["runs"]]
    judged = table["measure"] == "judge"
    beside = beside_the_paper(comparison)
    blocks: list[Block] = []
    for lang, own in table["languages"].items():
        rows = [_score_row(comparison, tr("All domains"), own, names)]
        rows += [
            _score_row(comparison, capitalised(domain) or DASH, cell, names)
            for domain, cell in own["domains"].items()
        ]
        # The row of a single domain would repeat that of all.
        if len(rows) == 2:
            rows = rows[:1]
        head = [tr("Domain"), *names, tr("Questions")]
        caption = together(
            tr("{title}.", title=language(lang)),
            tr(
                "Mean score, and total, of the questions that every run has a value of."
                if judged
                else "Share that passes every check, and number, of the questions that every run "
                "has a value of."
            ),
            tr("The columns are in the order in which the runs were named, which is no ranking."),
        )
        if beside and lang in published["languages"]:
            # Before the last column, the number of our questions, which isn't the paper's.
            head.insert(-1, f"{recorded(published['name'])}*")
            cell = published["languages"][lang]
            rows[0].insert(-1, _mean_and_total(number(cell["mean"]), cell["total"]))
            # The published numbers are of all domains together.
            for row in rows[1:]:
                row.insert(-1, DASH)
            beside_ours = tr(
                "* {source}: {n} other questions, another judge and rubric; for orientation, and "
                "comparable with no column here.",
                source=published["source"],
                n=count(published["questions"]),
            )
            caption = together(caption, beside_ours)
        blocks.append(Table(caption, head, rows))
    return blocks


def _score_row(
    comparison: Mapping[str, Any], label: str, cell: Mapping[str, Any], names: Sequence[str]
) -> list[str]:
    show = percent if is_share(comparison, comparison["table"]["measure"]) else number
    cells = [cell["runs"][name] for name in names]
    shown = [_mean_and_total(show(each["mean"]), each["total"]) for each in cells]
    return [label, *shown, count(cell["n"])]


def _mean_and_total(mean: str, total: float) -> str:
    whole = float(total).is_integer()
    return tr(
        "{mean} ({total})", mean=mean, total=count(total) if whole else number(total, digits=1)
    )


def differences(comparison: Mapping[str, Any]) -> list[Block]:
    if not comparison["families"]:
        return []
    blocks: list[Block] = [
        Text(
            together(
                _units(comparison),
                tr(
                    "“Detectable” is the smallest true difference that this benchmark would have "
                    "found with a probability of {power}, after the correction: where no change is "
                    "clear, a smaller one may well be there. Effect: of scores, the difference in "
                    "standard deviations of the pairs (d, with Hedges' correction); of rates, the "
                    "odds ratio: questions gained for each that was lost.",
                    power=level(comparison["power"]),
                ),
            )
        )
    ]
    for measure in comparison["measures"]:
        rows = []
        for name, lang, which, record in of_languages(comparison):
            if which == measure:
                label = run_in(name, lang)
                rows.append([label, *difference_cells(comparison, measure, record, effect=True)])
        if rows:
            title = tr("{subject}, paired", subject=tr(SUBJECTS[measure]))
            caption = captioned(comparison, measure, title)
            head = (tr("Run"), *difference_head(tr("Effect")))
            blocks += table_blocks(Table(caption, head, rows, labels=2))
    return blocks


def _units(comparison: Mapping[str, Any]) -> str:
    if comparison["questions"]["domains"] >= LEAST_CLUSTERS:
        return tr(
            "Questions of one domain are alike and count for less than their number, so that the "
            "intervals cover other domains like these, too."
        )
    return tr(
        "The versions of one question in several languages are alike and count for less than their "
        "number. The domains are too few to be units: the intervals cover other questions on them."
    )


def domains(comparison: Mapping[str, Any]) -> list[Block]:
    measure = _tested_by_domain(comparison)
    show_share = is_share(comparison, measure)
    figures, tables = [], []
    for index, (name, own) in enumerate(comparison["comparisons"].items()):
        if len(own["domains"]) < 2:
            continue
        for lang in languages_of(own):
            parts = {d: each[lang][measure] for d, each in own["domains"].items() if lang in each}
            rows = [
                Row(_starred(comparison, d), [Interval.of(r, "difference")])
                for d, r in parts.items()
            ]
            title = run_in(name, lang)
            end = reach([row.intervals[0] for row in rows], show_share)
            svg = interval_plot(
                f"domains-{index}-{lang}", title, ["after"], rows, low=-end, high=end
            )
            caption = tr("{subject}, difference by domain.", subject=tr(SUBJECTS[measure]))
            figures.append(Figure(caption, svg))
            if any(record.get("reading", TOO_FEW) != TOO_FEW for record in parts.values()):
                cells = [
                    [_starred(comparison, d), *difference_cells(comparison, measure, r)]
                    for d, r in parts.items()
                ]
                caption = captioned(comparison, measure, title)
                head = (tr("Domain"), *difference_head())
                tables += table_blocks(Table(caption, head, cells, labels=2))
    if not figures:
        return []
    lead = tr(
        "A line is a {confidence} interval by itself, in which the versions of one question count "
        "as alike. Fewer than {least} pairs aren't tested. Where no difference is detectable, not "
        "even a run with the best or the worst score of the scale everywhere would have been found "
        "to differ.",
        confidence=level(comparison["confidence"]),
        least=MINIMUM_PAIRS,
    )
    if comparison["held_out"]:
        starred = tr("Domains with a star are held out: no training question came from them.")
        lead = together(lead, starred)
    return [Text(lead), Figures(figures), *tables]


def _starred(comparison: Mapping[str, Any], domain: str) -> str:
    return capitalised(domain) + "*" * (domain in comparison["held_out"])


def _tested_by_domain(comparison: Mapping[str, Any]) -> str:
    """The measure whose differences by domain have readings: the first one of the comparison,
    unless its judge gave all answers one score, which tests nothing."""
    for measure in comparison["measures"]:
        for own in comparison["comparisons"].values():
            for languages in own["domains"].values():
                if any("reading" in parts[measure] for parts in languages.values()):
                    return measure
    return comparison["measures"][0]


def reach(intervals: Sequence[Interval], share: bool) -> float:
    """The end of an axis around 0 that has room for differences, and round ticks."""
    # The values too: a domain with one question has a difference without an interval.
    ends = (end for each in intervals for end in (each.value, each.low, each.high))
    most = max((abs(end) for end in ends if end is not None), default=0.0)
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
                tr("Check"),
                tr("Difference"),
                tr("Interval"),
                "p",
                tr("Odds ratio"),
                tr("Before"),
                tr("After"),
                tr("Pairs"),
            )
            if rows:
                caption = captioned(comparison, "all_checks", run_in(name, lang))
                blocks += table_blocks(Table(caption, head, rows))
    if not blocks:
        return []
    lead = tr(
        "Described only: these belong to no family of tests, and p is that of each check by "
        "itself: among many checks a small one comes by chance."
    )
    return [prose("checks", trained_on=False), Text(lead), *blocks]


def difference_cells(
    comparison: Mapping[str, Any], measure: str, record: Mapping[str, Any], effect: bool = False
) -> list[str]:
    """Under `difference_head`; the effect size if wanted; before, after and the number of pairs."""
    change = Interval.of(record, "difference")
    show = shown_as(comparison, measure)
    side = percent if is_share(comparison, measure) else number
    cells = [
        # A difference that is in no family of tests has no reading.
        recorded(record.get("reading", DASH)),
        show(change.value),
        bounds(change, show),
        probability(change.p),
        probability(record.get("p_corrected")),
        size(comparison, measure, record.get("detectable")),
    ]
    if effect:
        # Of rates there are odds; of scores, a difference in standard deviations.
        share = "odds_ratio" in record
        cells.append(odds(record["odds_ratio"]) if share else signed(record["standardised"]))
    return [*cells, side(record["before"]), side(record["after"]), count(change.n)]
