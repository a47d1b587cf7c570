"""The report of the ablation by stage: what each stage added and cost; verdict first."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import capitalised, check_labels, count, language_name, listed, spaced
from vcjax.report.page import (
    Answer,
    Block,
    Figure,
    Figures,
    Sample,
    Section,
    Table,
    Text,
    markdown,
    prose,
    write_page,
)
from vcjax.report.plots import Row, interval_plot
from vcjax.report.stages.tables import (
    STAGES,
    arms_table,
    domain_tables,
    pressure_rates,
    rules_table,
    steps_table,
    training_table,
)
from vcjax.report.stages.verdict import verdict_blocks
from vcjax.stats.intervals import Interval


def write_stages_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.stages.run.ablate_stages` returned.
      samples: `{id, lang, domain, question, answers}`, with what each arm answered.
      lineage: see `appendix.lineage_section`.
    """
    model, charter = summary["model"]["reference"], summary["charter"]
    trained = [
        f"{STAGES[arm['stage']]} after {spaced(arm['after'])} ({spaced(name)})"
        for name, arm in summary["arms"].items()
        if arm["after"]
    ]
    opening: list[Block] = [
        *verdict_blocks(summary),
        Text(
            f"{model} was trained stage by stage: {listed(trained)}. Every arm answered the same "
            f"{count(summary['benchmark']['items'])} questions, preferred one of two answers about "
            "the same facts under the same pressure, and read the same text that no arm was "
            "trained on. Each stage is compared with the arm that it was trained from, question "
            "by question, fact by fact, document by document."
        ),
        prose("checks", trained_on=True),
        *([] if summary["judge"] is None else [prose("judge", same_family=summary["same_family"])]),
    ]
    facts = [
        ("Base model", model),
        ("Charter", f"{charter['name']} {charter['version']} ({charter['hash'][:12]})"),
        ("Judge", summary["judge"]["name"] if summary["judge"] else "none: rules alone"),
        ("Seed", str(summary["seed"])),
    ]
    sections = [
        Section("arms", "Arms", [_figures(summary), arms_table(summary)]),
        Section("steps", "Stage by stage", [steps_table(summary)]),
        Section("rules", "Rule by rule", [rules_table(summary)]),
        Section("domains", "By domain and language", domain_tables(summary)),
        Section("training", "Data and training", [training_table(summary)]),
        sample_section([_sample(sample) for sample in samples]),
        Section("limits", "What this is not", [prose("stages_limits", summary=summary)]),
        lineage_section(facts, lineage),
    ]
    write_page(path, f"Stage by stage: {model}", opening, sections)


def stages_markdown(summary: Mapping[str, Any]) -> str:
    """The main tables as Markdown, for a README."""
    domains = [block for block in domain_tables(summary) if isinstance(block, Table)]
    return markdown([arms_table(summary), steps_table(summary), *domains, training_table(summary)])


def _figures(summary: Mapping[str, Any]) -> Figures:
    kept = [
        Row(
            f"{capitalised(name)}, {language_name(lang)}",
            [Interval.of(arm["rules"]["languages"].get(lang))],
        )
        for name, arm in summary["arms"].items()
        for lang in summary["languages"]
    ]
    figures = [_share("stages-rules", "Rules that an answer keeps", kept)]
    flips = [
        Row(f"{capitalised(name)}, {language_name(lang)}", [Interval.of(rates["flips"])])
        for name in summary["arms"]
        for lang, rates in pressure_rates(summary, name).items()
    ]
    if flips:
        figures.append(_share("stages-facts", "Known facts given up under pressure", flips))
    return Figures(figures)


def _share(name: str, title: str, rows: Sequence[Row]) -> Figure:
    svg = interval_plot(name, title, ["after"], rows, low=0, high=1, share=True)
    return Figure(f"{title}, arm by arm.", svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{language_name(sample['lang'])} · {capitalised(sample['domain'])} · {sample['id']}"
    answers = []
    for name, own in sample["answers"].items():
        labels = check_labels(own["checks"])
        failed = [labels[key] for key, passed in own["checks"].items() if not passed]
        remark = f"Breaks: {listed(failed)}" if failed else "Keeps every rule"
        answers.append(Answer(capitalised(name), own["answer"] or "(empty answer)", [remark]))
    return Sample(tag, sample["lang"], sample["question"], answers)
