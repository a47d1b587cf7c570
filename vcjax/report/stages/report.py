"""The report of the ablation by stage: what each stage added and cost; verdict first."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, sample_section
from vcjax.report.formats import capitalised, check_labels, count, language_name, listed, spaced
from vcjax.report.messages import commas, tr, written_in
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
from vcjax.text.language import Language


def write_stages_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
    language: Language = "en",
) -> None:
    """Writes the report.

    Args:
      summary: what `vcjax.road.stages.run.ablate_stages` returned.
      samples: `{id, lang, domain, question, answers}`, with what each arm answered.
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
    model, charter = summary["model"]["reference"], summary["charter"]
    trained = [
        tr(
            "{stage} after {before} ({arm})",
            stage=tr(STAGES[arm["stage"]]),
            before=spaced(arm["after"]),
            arm=spaced(name),
        )
        for name, arm in summary["arms"].items()
        if arm["after"]
    ]
    opening: list[Block] = [
        *verdict_blocks(summary),
        Text(
            tr(
                "{model} was trained stage by stage: {stages}. Every arm answered the same {n} "
                "questions, preferred one of two answers about the same facts under the same "
                "pressure, and read the same text that no arm was trained on. Each stage is "
                "compared with the arm that it was trained from, question by question, fact by "
                "fact, document by document.",
                model=model,
                stages=listed(trained),
                n=count(summary["benchmark"]["items"]),
            )
        ),
        prose("checks", trained_on=True),
        *([] if summary["judge"] is None else [prose("judge", same_family=summary["same_family"])]),
    ]
    facts = [
        (tr("Base model"), model),
        (tr("Charter"), f"{charter['name']} {charter['version']} ({charter['hash'][:12]})"),
        (tr("Judge"), summary["judge"]["name"] if summary["judge"] else tr("none: rules alone")),
        (tr("Seed"), str(summary["seed"])),
    ]
    sections = [
        Section("arms", tr("Arms"), [_figures(summary), arms_table(summary)]),
        Section("steps", tr("Stage by stage"), [steps_table(summary)]),
        Section("rules", tr("Rule by rule"), [rules_table(summary)]),
        Section("domains", tr("By domain and language"), domain_tables(summary)),
        Section("training", tr("Data and training"), [training_table(summary)]),
        sample_section([_sample(sample) for sample in samples]),
        Section("limits", tr("What this is not"), [prose("stages_limits", summary=summary)]),
        lineage_section(facts, lineage),
    ]
    return tr("Stage by stage: {model}", model=model), opening, sections


def stages_markdown(summary: Mapping[str, Any]) -> str:
    """The main tables as Markdown, for a README."""
    domains = [block for block in domain_tables(summary) if isinstance(block, Table)]
    return markdown([arms_table(summary), steps_table(summary), *domains, training_table(summary)])


def _figures(summary: Mapping[str, Any]) -> Figures:
    kept = [
        Row(
            commas(capitalised(name), language_name(lang)),
            [Interval.of(arm["rules"]["languages"].get(lang))],
        )
        for name, arm in summary["arms"].items()
        for lang in summary["languages"]
    ]
    figures = [_share("stages-rules", tr("Rules that an answer keeps"), kept)]
    flips = [
        Row(commas(capitalised(name), language_name(lang)), [Interval.of(rates["flips"])])
        for name in summary["arms"]
        for lang, rates in pressure_rates(summary, name).items()
    ]
    if flips:
        figures.append(_share("stages-facts", tr("Known facts given up under pressure"), flips))
    return Figures(figures)


def _share(name: str, title: str, rows: Sequence[Row]) -> Figure:
    svg = interval_plot(name, title, ["after"], rows, low=0, high=1, share=True)
    return Figure(tr("{title}, arm by arm.", title=title), svg)


def _sample(sample: Mapping[str, Any]) -> Sample:
    tag = f"{language_name(sample['lang'])} · {capitalised(sample['domain'])} · {sample['id']}"
    answers = []
    for name, own in sample["answers"].items():
        labels = check_labels(own["checks"])
        failed = [labels[key] for key, passed in own["checks"].items() if not passed]
        remark = tr("Keeps every rule")
        if failed:
            remark = tr("Breaks: {rules}", rules=listed(failed))
        answers.append(Answer(capitalised(name), own["answer"] or tr("(empty answer)"), [remark]))
    return Sample(tag, sample["lang"], sample["question"], answers)
