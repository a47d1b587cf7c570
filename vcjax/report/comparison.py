"""The report of finished evaluations side by side: what differs, and what could have been found."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vcjax.evaluation.comparison.differences import ALL, LEAST_CLUSTERS
from vcjax.evaluation.comparison.logs.samples import ANY_LANGUAGE
from vcjax.evaluation.comparison.workdirs import TOOL
from vcjax.report.changes import TONES
from vcjax.report.formats import (
    DASH,
    bounds,
    capitalised,
    check_labels,
    count,
    language_name,
    listed,
    number,
    percent,
    points,
    probability,
    signed,
)
from vcjax.report.page import (
    Block,
    Figure,
    Figures,
    Notice,
    Section,
    Table,
    Text,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import MINIMUM_PAIRS, TOO_FEW

_SUBJECTS = {"judge": "Mean score", "all_checks": "Answers that pass every rule check"}
_HEAD = ("Reading", "Difference", "Interval", "p", "p corrected", "Detectable")


def write_comparison_report(path: str | os.PathLike, *, comparison: Mapping[str, Any]) -> None:
    """Writes the report.

    Args:
      comparison: what `vcjax.evaluation.comparison.analysis.compare_runs` returned.
    """
    baseline, *others = [run["name"] for run in comparison["runs"]]
    questions = comparison["questions"]
    asked = [
        f", {count(n)} in {language_name(lang)}"
        for lang, n in questions["languages"].items()
        if lang != ANY_LANGUAGE
    ]
    opening: list[Block] = [
        Text(
            f"{listed(others)} {'is' if len(others) == 1 else 'are'} compared with {baseline}, "
            f"question by question: {count(questions['compared'])} questions{''.join(asked)}. "
            f"{_judged(comparison)}"
        ),
        *(Notice("How the runs were made comparable", note) for note in comparison["notes"]),
        *_problems(comparison),
    ]
    sections = [
        Section("verdict", "Verdict", _verdict(comparison)),
        Section("scores", "Scores by domain and language", _scores(comparison)),
        Section("differences", "Differences by language", _differences(comparison)),
        Section("errors", "Corrected for the judge's errors", _corrected(comparison)),
        Section("domains", "Differences by domain", _domains(comparison)),
        Section("checks", "Rule by rule", _checks(comparison)),
        Section("runs", "The runs", [_runs(comparison)]),
        Section("limits", "What this comparison is not", [_limits(comparison)]),
    ]
    title = f"{listed(others)} compared with {baseline}"
    write_page(path, title, opening, [section for section in sections if section.blocks])


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The verdict, for a terminal: a line for each run, language and measure."""
    lines = [f"{run['name']}: {text}" for run in comparison["runs"] for text in run["problems"]]
    lines += comparison["notes"]
    for name, lang, measure, record in _of_languages(comparison):
        subject = _SUBJECTS[measure].lower()
        lines.append(
            f"{name}, {_language(lang)}: {_sentence(comparison, subject, measure, record)}"
        )
    return lines


def _judged(comparison: Mapping[str, Any]) -> str:
    judges = [run["about"].get("judge") for run in comparison["runs"]]
    if "judge" not in comparison["measures"]:
        return "No judge's scores are compared."
    if any(run["tool"] != TOOL for run in comparison["runs"]):
        return f"What is compared is the score “{judges[0]}”."
    return f"The judge was {judges[0]}." if judges[0] else ""


def _problems(comparison: Mapping[str, Any]) -> list[Block]:
    texts = [f"{run['name']}: {text}." for run in comparison["runs"] for text in run["problems"]]
    return [Notice("What is wrong with the runs", " ".join(texts), "warning")] if texts else []


# -------------------------------------------------------------------------------------------------
# The verdict.
# -------------------------------------------------------------------------------------------------


def _verdict(comparison: Mapping[str, Any]) -> list[Block]:
    level = f"{comparison['confidence']:.0%}"
    families = comparison["families"]
    blocks: list[Block] = [
        Text(
            "Read from the paired differences alone. The words “higher” and “lower” follow p "
            f"corrected by Holm's method: {_families(families)}. Where nothing changed, all of the "
            f"report is without these words with a probability of {level} or more. Every interval "
            "is by itself."
        )
    ]
    for name, lang, measure, record in _of_languages(comparison):
        subject = _SUBJECTS[measure]
        title = f"{name}, {_language(lang)}, {'judge' if measure == 'judge' else 'rule checks'}"
        text = _sentence(comparison, subject, measure, record) + "."
        if measure == "judge":
            text += _unscored(comparison, record)
        read = record["reading"]
        blocks.append(Notice(f"{title}: {read}", text, TONES[read]))
    if not families:
        blocks.append(
            Notice("The judge gave every answer the same score: nothing can be compared", "")
        )
    if (changed := _changed_domains(comparison)) is not None:
        blocks.append(Text(changed))
    if len(comparison["runs"]) > 2:
        first = comparison["runs"][0]["name"]
        blocks.append(
            Text(
                f"Each run is compared with {first} alone. Two others that differ from it in other "
                "ways aren't thereby different from one another: nothing here ranks them. Name one "
                "of them first to compare it with the rest."
            )
        )
    return blocks


def _families(families: Mapping[str, Any]) -> str:
    what = {
        "languages": "changes by language and in all languages",
        "domains": "changes by domain, in each language and in all of them",
    }
    parts = [f"{count(own['tests'])} {what[name]}" for name, own in families.items()]
    shared = ", which have half of the rate of false alarms each" if len(parts) > 1 else ""
    return listed(parts) + shared if parts else "none were tested"


def _of_languages(
    comparison: Mapping[str, Any],
) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Run, language, measure and record of each difference in the family `languages`."""
    for name, own in comparison["comparisons"].items():
        langs = list(own["languages"])
        for lang in [*([ALL] if len(langs) > 1 else []), *langs]:
            parts = own[ALL] if lang == ALL else own["languages"][lang]
            for measure in comparison["measures"]:
                if "reading" in parts[measure]:
                    yield name, lang, measure, parts[measure]


def _sentence(
    comparison: Mapping[str, Any], subject: str, measure: str, record: Mapping[str, Any]
) -> str:
    difference, read = Interval.of(record, "difference"), record["reading"]
    if read == TOO_FEW:
        return (
            f"{subject}: {read} ({count(difference.n)} questions have a value in both runs; at "
            f"least {MINIMUM_PAIRS} are needed)"
        )
    show, unit = _unit(comparison, measure)
    least = record["detectable"]
    found = (
        f"a change of {_size(comparison, measure, least)}{unit} would have been found"
        if least is not None
        else "no change, however large, would have been found"
    )
    return (
        f"{subject}: {read} ({show(difference.value)}{unit}, {comparison['confidence']:.0%} "
        f"interval {bounds(difference, show)}, corrected p "
        f"{probability(record['p_corrected'])}; with a probability of {comparison['power']:.0%} "
        f"{found})"
    )


def _unscored(comparison: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    if not record["unpaired"] or record["unscored_against"] is None:
        return ""
    show, _ = _unit(comparison, "judge")
    worst, best = (show(record[f"unscored_{side}"]) for side in ("against", "for"))
    return (
        f" {count(record['unpaired'])} questions lack a score in one run or both and are left out: "
        f"were all of these scored as badly as can be for this run, the difference would be "
        f"{worst}, and as well as can be, {best}."
    )


def _changed_domains(comparison: Mapping[str, Any]) -> str | None:
    """Where the domains changed, as a sentence."""
    if "domains" not in comparison["families"]:
        return None
    found = []
    for name, own in comparison["comparisons"].items():
        for domain, languages in own["domains"].items():
            for lang, parts in languages.items():
                for measure in comparison["measures"]:
                    read = parts[measure].get("reading")
                    if read in ("higher", "lower"):
                        found.append(f"{domain} ({name}, {_language(lang)}: {read})")
    if not found:
        return "By domain: no clear change in any."
    return f"By domain: {listed(found)}."


# -------------------------------------------------------------------------------------------------
# Tables and plots.
# -------------------------------------------------------------------------------------------------


def _scores(comparison: Mapping[str, Any]) -> list[Block]:
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
            f"{_language(lang)}. {what}, of the questions that every run has a value of. The "
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
    show = percent if _is_share(comparison, comparison["table"]["measure"]) else number
    cells = [cell["runs"][name] for name in names]
    shown = [f"{show(each['mean'])} ({_total(each['total'])})" for each in cells]
    return [label, *shown, count(cell["n"])]


def _total(total: float) -> str:
    return count(total) if float(total).is_integer() else number(total, 1)


def _differences(comparison: Mapping[str, Any]) -> list[Block]:
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
        for name, lang, which, record in _of_languages(comparison):
            if which == measure:
                label = f"{name}, {_language(lang)}"
                rows.append([label, *_cells(comparison, measure, record, effect=True)])
        if rows:
            head = ("Run", *_HEAD, "Effect", "Before", "After", "Pairs")
            caption = f"{_SUBJECTS[measure]}, paired{_in_points(comparison, measure)}."
            blocks.append(Table(caption, head, rows, labels=2))
    return blocks


def _corrected(comparison: Mapping[str, Any]) -> list[Block]:
    errors = comparison["judge_errors"]
    if errors is None:
        return []
    rows = []
    for name, own in errors["comparisons"].items():
        for lang, record in own.items():
            seen, true = (Interval.of(record[each], "difference") for each in ("seen", "corrected"))
            sides = (percent(record["seen"][side]) for side in ("before", "after"))
            cells = (points(true.value), bounds(true, points), points(seen.value))
            label = f"{name}, {_language(lang)}"
            rows.append((label, *cells, bounds(seen, points), *sides, count(seen.n)))
    least = errors["threshold"]
    what = "positive" if least is None else f"scored {number(least, 0)} or more"
    lead = (
        "The judge was measured on answers that people labelled. A judge that errs alike in both "
        "runs shows less of a difference than there is, and none where there is none: so the "
        "readings stay, and the difference grows, as does its interval, which carries how well the "
        "judge's errors are known. That it errs alike in both runs is assumed, not shown."
    )
    head = (
        "Run",
        "True difference",
        "Interval",
        "Seen",
        "Its interval",
        "Before",
        "After",
        "Pairs",
    )
    return [Text(lead), Table(f"Answers that are {what}, in percentage points.", head, rows)]


def _domains(comparison: Mapping[str, Any]) -> list[Block]:
    measure = comparison["measures"][0]
    show_share = _is_share(comparison, measure)
    figures, tables = [], []
    for number_, (name, own) in enumerate(comparison["comparisons"].items()):
        if len(own["domains"]) < 2:
            continue
        for lang in _languages_of(own):
            parts = {d: each[lang][measure] for d, each in own["domains"].items() if lang in each}
            rows = [
                Row(_starred(comparison, d), [Interval.of(r, "difference")])
                for d, r in parts.items()
            ]
            title = f"{name}, {_language(lang)}"
            ends = [abs(end) for row in rows for end in row.intervals[0].bounds or (0,)]
            reach = _reach(max(ends), show_share)
            svg = interval_plot(
                f"domains-{number_}-{lang}", title, ["after"], rows, low=-reach, high=reach
            )
            figures.append(Figure(f"{_SUBJECTS[measure]}, difference by domain.", svg))
            if any(record.get("reading", TOO_FEW) != TOO_FEW for record in parts.values()):
                cells = [
                    [_starred(comparison, d), *_cells(comparison, measure, r)]
                    for d, r in parts.items()
                ]
                head = ("Domain", *_HEAD, "Before", "After", "Pairs")
                tables.append(
                    Table(f"{title}{_in_points(comparison, measure)}.", head, cells, labels=2)
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


def _checks(comparison: Mapping[str, Any]) -> list[Block]:
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
                ratio = _odds(record["odds_ratio"])
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
                blocks.append(Table(f"{name}, {_language(lang)}; in points.", head, rows))
    if not blocks:
        return []
    lead = (
        "Described only: these belong to no family of tests, and p is that of each check by "
        "itself: among many checks a small one comes by chance."
    )
    return [prose("checks", trained_on=False), Text(lead), *blocks]


def _runs(comparison: Mapping[str, Any]) -> Table:
    fields = sorted({field for run in comparison["runs"] for field in run["about"]})
    rows = []
    same = []
    for field in list(fields):
        values = {run["about"].get(field) or DASH for run in comparison["runs"]}
        if len(values) == 1:
            fields.remove(field)
            same.append(f"{field}: {values.pop()}")
    for run in comparison["runs"]:
        own = [run["about"].get(field) or DASH for field in fields]
        counts = (run["questions"], run["left_out"], run["scored"])
        rows.append([run["name"], run["path"], run["tool"], *own, *map(count, counts)])
    head = [
        "Run",
        "Read from",
        "Tool",
        *map(capitalised, fields),
        "Questions",
        "Left out",
        "Scored",
    ]
    caption = "The first is the baseline."
    if same:
        caption += f" The same in all: {', '.join(same)}."
    return Table(caption, head, rows, labels=3 + len(fields))


def _limits(comparison: Mapping[str, Any]) -> Block:
    return prose(
        "comparison_limits",
        questions=count(comparison["questions"]["compared"]),
        judged="judge" in comparison["measures"],
        published="judge" in comparison["measures"] and comparison["scale"] == [0, 5],
    )


def _cells(
    comparison: Mapping[str, Any], measure: str, record: Mapping[str, Any], effect: bool = False
) -> list[str]:
    """Under _HEAD; the effect size if wanted; before, after and the number of pairs."""
    change = Interval.of(record, "difference")
    show, _ = _unit(comparison, measure)
    level = percent if _is_share(comparison, measure) else number
    cells = [
        record.get("reading", DASH),
        show(change.value),
        bounds(change, show),
        probability(change.p),
        probability(record.get("p_corrected")),
        _size(comparison, measure, record.get("detectable")),
    ]
    if effect:
        is_score = measure == "judge"
        cells.append(signed(record["standardised"]) if is_score else _odds(record["odds_ratio"]))
    return [*cells, level(record["before"]), level(record["after"]), count(change.n)]


def _odds(record: Mapping[str, Any]) -> str:
    if record["ratio"] is None:
        return "∞" if record["n"] else DASH
    bounds_ = Interval.of({**record, "n": record["n"]}, "ratio")
    return bounds_.text(number, "{} ({} to {})")


def _size(comparison: Mapping[str, Any], measure: str, value: float | None) -> str:
    if value is None:
        return DASH
    return number(100 * value, 1) if _is_share(comparison, measure) else number(value)


def _unit(comparison: Mapping[str, Any], measure: str) -> tuple[Any, str]:
    return (points, " points") if _is_share(comparison, measure) else (signed, "")


def _in_points(comparison: Mapping[str, Any], measure: str) -> str:
    return ", in percentage points" if _is_share(comparison, measure) else ""


def _is_share(comparison: Mapping[str, Any], measure: str) -> bool:
    return measure != "judge" or comparison["scale"] == [0, 1]


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


def _languages_of(own: Mapping[str, Any]) -> list[str]:
    langs = list(own["languages"])
    return [ALL, *langs] if len(langs) > 1 else langs


def _language(lang: str) -> str:
    if lang == ANY_LANGUAGE:
        return "all questions"
    return "all languages" if lang == ALL else language_name(lang)


def _starred(comparison: Mapping[str, Any], domain: str) -> str:
    return capitalised(domain) + "*" * (domain in comparison["held_out"])


def _reach(most: float, share: bool) -> float:
    """An end of the axis that has room for the intervals, and round ticks."""
    steps = (0.1, 0.2, 0.5, 1.0) if share else (0.5, 1.0, 2.5, 5.0)
    return next((step for step in steps if most <= step), max(most, steps[-1]))
