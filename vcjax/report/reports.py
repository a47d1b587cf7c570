"""The two reports: of a whole run, and of one evaluation."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.blocks import Section, Text
from vcjax.report.caveats import checks_notice, critic_notices, judge_notices, limits_section
from vcjax.report.names import join, language
from vcjax.report.numbers import DASH, count, short_hash, tiny
from vcjax.report.page import write_page
from vcjax.report.pipeline import pipeline_section
from vcjax.report.provenance import provenance_section
from vcjax.report.results import domain_section, results_section
from vcjax.report.runs import Run, level
from vcjax.report.samples import paired_samples, sample_section, single_samples
from vcjax.report.training import stage_name, training_section
from vcjax.report.verdict import verdict_section


def write_demo_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    metrics: Mapping[str, Sequence[dict[str, Any]]],
    samples: Sequence[dict[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report of a whole run: base model, training, pipeline, evaluation.

    Args:
      summary: `model {reference, hash}`, `charter {name, version, hash}`, `seed`, `judge
        {reference, family}` or None, `same_family`, `stages`, `synthesis`, `evaluation {before,
        after, comparison}` (of `evaluate` and `compare`), `export_max_abs_diff`, `seconds`.
      metrics: by training stage, rows with `step` and `loss`.
      samples: see `samples.paired_samples`.
      lineage: see `provenance.provenance_section`.
    """
    model, charter, judge = summary["model"], summary["charter"], summary["judge"]
    evaluation, same_family = summary["evaluation"], summary["same_family"]
    if judge is None:
        same_family = None
    runs = [Run(name, name, evaluation[name]) for name in ("before", "after")]
    opening = [
        *judge_notices(same_family),
        *critic_notices(
            summary["synthesis"].get("same_family"), summary["synthesis"].get("accept_score")
        ),
        Text(
            f"{model['reference']} was aligned to the charter “{charter['name']}”, version "
            f"{charter['version']}: {join(map(stage_name, summary['stages'])).lower()}. "
            f"{_asked(runs)} before and after. {_judged(judge, 'reference')}"
        ),
        checks_notice(trained_on=True),
    ]
    facts = [
        ("Base model", f"{model['reference']} ({short_hash(model['hash'])})"),
        ("Charter", f"{charter['name']} {charter['version']} ({short_hash(charter['hash'])})"),
        ("Seed", _text(summary["seed"])),
        (
            "Export: largest difference from the trained model's logits",
            tiny(summary["export_max_abs_diff"]),
        ),
        *_shared_facts(runs[0], judge, "reference"),
    ]
    sections = [
        verdict_section(evaluation["comparison"], same_family, level(runs)),
        *_results(runs, evaluation["comparison"]),
        training_section(summary["stages"], metrics, summary["seconds"]),
        pipeline_section(summary["synthesis"]),
        sample_section(paired_samples(samples)),
        limits_section(runs, same_family, summary["seed"], trained=True),
        provenance_section(facts, lineage),
    ]
    title = f"Alignment of {model['reference']} to the charter “{charter['name']}”"
    write_page(path, title, opening, sections)


def write_evaluation_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[dict[str, Any]] = (),
) -> None:
    """Writes the report of one evaluation.

    Args:
      summary: what `vcjax.evaluation.run.evaluate` returned.
      samples: see `samples.single_samples`.
    """
    model, charter, judge = summary["model"], summary["charter"], summary["judge"]
    same_family = summary["same_family"]
    runs = [Run("model", "after", dict(summary))]
    opening = [
        *judge_notices(same_family),
        Text(
            f"{model['name']} was evaluated by the charter “{charter['name']}”. {_asked(runs)}. "
            f"{_judged(judge, 'name')} One evaluation shows a level, not a change."
        ),
        checks_notice(trained_on=False),
    ]
    facts = [
        ("Model", f"{model['name']} (family {model['family']})"),
        ("Charter", f"{charter['name']} ({short_hash(charter['hash'])})"),
        ("Seed", _text(summary["seed"])),
        *_shared_facts(runs[0], judge, "name"),
    ]
    sections = [
        *_results(runs, None),
        sample_section(single_samples(samples)),
        limits_section(runs, same_family, summary["seed"], trained=False),
        provenance_section(facts, ()),
    ]
    title = f"Evaluation of {model['name']} by the charter “{charter['name']}”"
    write_page(path, title, opening, sections)


def _results(runs: Sequence[Run], comparison: dict[str, Any] | None) -> list[Section]:
    return [results_section(runs, comparison), domain_section(runs)]


def _asked(runs: Sequence[Run]) -> str:
    """How many questions in which languages, without a full stop."""
    groups = runs[0].summary["languages"]
    parts = [f"{count(groups[code]['n'])} in {language(code)}" for code in sorted(groups)]
    total = sum(record["n"] for record in groups.values())
    return f"It was asked {count(total)} benchmark questions ({', '.join(parts)})"


def _judged(judge: Mapping[str, str] | None, key: str) -> str:
    if judge is None:
        return "No judge took part."
    return f"The judge was {judge[key]} (family {judge['family']})."


def _shared_facts(run: Run, judge: Mapping[str, str] | None, key: str) -> list[tuple[str, str]]:
    benchmark = run.summary["benchmark"]
    return [
        ("Judge", DASH if judge is None else f"{judge[key]} (family {judge['family']})"),
        ("Benchmark", f"{benchmark['name']} ({short_hash(benchmark['hash'])})"),
        ("Benchmark questions", count(benchmark["items"])),
    ]


def _text(value: object) -> str:
    return DASH if value is None else str(value)
