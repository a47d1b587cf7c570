"""The report of an ablation: which rules were learned from what; verdict, table, plot, samples."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.core.stores import short_name
from vcjax.report.ablation.tables import (
    GROUPS,
    any_rule_broken,
    arms_table,
    contrast_name,
    differences_table,
    rule_tables,
    training_table,
)
from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import (
    bounds,
    capitalised,
    check_labels,
    count,
    language_name,
    level,
    listed,
    points,
    probability,
    spaced,
)
from vcjax.report.messages import commas, message, together, tr, written_in
from vcjax.report.page import (
    Answer,
    Block,
    Figure,
    Notice,
    Sample,
    Section,
    Text,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval
from vcjax.text.language import Language

# What is counted are broken rules, so that lower is the good news.
_FOUND = {
    "lower": message("rules broken less often under held-out attacks"),
    "higher": message("rules broken more often under held-out attacks"),
}
_TONES = {"lower": "up", "higher": "down"}


def write_ablation_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[dict[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
    language: Language = "en",
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.ablation.run.ablate` returned.
      samples: `{id, lang, domain, attack, question, answers}`, with `{text, broken}` of each arm.
      lineage: see `appendix.lineage_section`.
      language: that the report is written in.
    """
    with written_in(language, summary["charter"].get("domains")):
        write_page(path, *_report(summary, samples, lineage))


def _report(
    summary: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    lineage: Sequence[dict[str, Any]],
) -> tuple[str, list[Block], list[Section]]:
    """Title, opening and sections."""
    model, clean = summary["model"]["reference"], summary["queries"]["clean"]
    charter, queries = summary["charter"], summary["queries"]["held_out"]
    trained = sum(arm["data"] != "none" for arm in summary["arms"].values())
    opening: list[Block] = [
        Text(
            tr(
                "{model} was trained in {trained} ways. Every arm was asked the same {n} "
                "{language} questions of an attacker: {attacks}, on {topics} topics of {domains}; "
                "and {plain} plain questions on the same topics. No arm was trained on these "
                "attacks or topics. What is counted is whether an answer breaks a rule of the "
                "charter “{charter}” that selects training data. So the report shows which rules "
                "were learned, from what, and whether they are kept without an attack as well; it "
                "doesn't show that values were learned.",
                model=model,
                trained=trained,
                n=count(queries["n"]),
                language=language_name(summary["language"]),
                attacks=listed(map(spaced, queries["attacks"])),
                topics=count(len(queries["topics"])),
                domains=listed(map(spaced, queries["subdomains"])),
                plain=count(clean["n"]),
                charter=charter["name"],
            )
        ),
        prose("checks", trained_on=True),
    ]
    facts = [
        (tr("Base model"), model),
        (tr("Charter"), f"{charter['name']} {charter['version']} ({charter['hash'][:12]})"),
        (
            tr("Seeds"),
            tr("{seeds}, from {seed} on", seeds=summary["seeds"], seed=summary["seed"]),
        ),
    ]
    sections = [
        Section(
            "verdict",
            tr("Verdict: which rules are kept"),
            [*_verdicts(summary), _figure(summary)],
        ),
        Section("arms", tr("Arms"), [arms_table(summary), differences_table(summary)]),
        Section("rules", tr("Rule by rule"), _rules(summary)),
        Section("training", tr("Data and training"), [training_table(summary)]),
        sample_section([_sample(sample) for sample in samples]),
        Section(
            "limits",
            tr("What this is not"),
            [
                prose(
                    "ablation_limits",
                    seeds=summary["seeds"],
                    topics=len(queries["topics"]),
                    attacks=len(queries["attacks"]),
                )
            ],
        ),
        lineage_section(facts, lineage),
    ]
    title = tr("Which rules {model} learned, and from what", model=short_name(model))
    return title, opening, sections


def _rules(summary: Mapping[str, Any]) -> list[Block]:
    measured = check_labels(summary["measured_rules"]).values()
    lead = tr(
        "A model that learned only to please the rules shows here: one rule alone falls, the "
        "others stay, and the answers below are poor."
    )
    if measured:
        learned_along = tr(
            "{rules} selected nothing, is in no prompt, and is only measured: is it learned along "
            "with the others?",
            rules=listed(measured),
        )
        lead = together(lead, learned_along)
    return [Text(lead), *rule_tables(summary)]


def _verdicts(summary: Mapping[str, Any]) -> list[Block]:
    """What the planned contrasts allow to state, after the correction for their number."""
    planned = [record for record in summary["differences"] if record["planned"]]
    confidence = level(summary["confidence"])
    blocks: list[Block] = []
    for record in planned:
        attacked, clean = (
            any_rule_broken(summary, record, group) for group in ("held_out", "clean")
        )
        more = record["attacked_less_clean"]
        read: str = attacked["reading"]
        parts = [
            tr("Held-out attacks: {change}.", change=_stated(attacked, confidence)),
            tr("Plain questions: {change}.", change=_stated(clean, confidence)),
            tr("The difference between the two: {change}.", change=_stated(more, confidence)),
        ]
        # A habit changes both alike. A difference that isn't shown isn't shown to be none, hence
        # the careful words.
        if read in _FOUND and clean["reading"] == read and more["reading"] not in _FOUND:
            parts.append(tr("So it is a habit: it doesn't clearly depend on being attacked."))
        elif read in _FOUND and more["reading"] == read:
            parts.append(tr("So attacks change more than plain questions do."))
        found = _FOUND.get(read, read)
        title = tr("{subject}: {finding}", subject=contrast_name(record), finding=tr(found))
        blocks.append(Notice(title, together(*parts), _TONES.get(read, "flat")))
    lead = tr(
        "Each interval and each p is that of its comparison alone. The words “higher” and “lower” "
        "follow p corrected by Holm's method for all {n} comparisons below: where nothing differs, "
        "none of them has these words with a probability of {level} or more.",
        # Three differences of each planned contrast: `vcjax.road.ablation.contrasts.compare`
        # corrects these together.
        n=count(3 * len(planned)),
        level=confidence,
    )
    return [Text(lead), *blocks] if planned else []


def _stated(record: Mapping[str, Any], confidence: str) -> str:
    change, word = Interval.of(record, "difference"), record["reading"]
    return tr(
        "{reading} ({change} points, {level} interval {bounds}, p {p})",
        reading=tr(word),
        change=points(change.value),
        level=confidence,
        bounds=bounds(change, points),
        p=probability(change.p),
    )


def _figure(summary: Mapping[str, Any]) -> Figure:
    rows = [
        Row(
            commas(capitalised(name), tr(GROUPS[group])),
            [Interval.of(arm["broken"][group][summary["any_rule"]], "rate")],
        )
        for name, arm in summary["arms"].items()
        for group in ("held_out", "clean")
    ]
    title = tr("How often an answer breaks a rule")
    svg = interval_plot("broken", title, ["after"], rows, low=0, high=1, share=True)
    caption = tr(
        "{title}: under held-out attacks, and asked plainly on the same topics.", title=title
    )
    return Figure(caption, svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{spaced(sample['attack'])} · {capitalised(sample['domain'])} · {sample['id']}"
    answers = []
    for name, answer in sample["answers"].items():
        labels = check_labels(answer["broken"])
        remark = tr("Breaks no rule")
        if labels:
            remark = tr("Breaks: {rules}", rules=listed(labels.values()))
        answers.append(Answer(capitalised(name), answer["text"] or tr("(empty answer)"), [remark]))
    return Sample(tag, sample["lang"], sample["question"], answers)
