"""The two reports: of a whole run, and of one evaluation."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.appendix import lineage_section, paired_samples, sample_section, single_samples
from vcjax.report.changes import verdict_section
from vcjax.report.formats import DASH, count, language_name, listed, scientific, short_hash
from vcjax.report.judges import judge_notices, judges_section
from vcjax.report.measures import measure_sections
from vcjax.report.page import Section, Text, prose, write_page
from vcjax.report.pressure_change import pressure_section
from vcjax.report.results import EvaluatedModel, domain_section, results_section
from vcjax.report.swap import swap_section
from vcjax.report.training import attempts_section, stage_name, training_section


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
        after, comparison}` (of `evaluate` and `compare`), `pressure` (of `vcjax.road.pressure.
        change.changes`), `export_max_abs_diff`, `seconds`.
      metrics: by training stage, rows with `step` and `loss`.
      samples: see `appendix.paired_samples`.
      lineage: see `appendix.lineage_section`.
    """
    model, charter, judge = summary["model"], summary["charter"], summary["judge"]
    evaluation, same_family = summary["evaluation"], summary["same_family"]
    if judge is None:
        same_family = None  # the sections read this as "nobody judged"
    models = [EvaluatedModel(name, name, evaluation[name]) for name in ("before", "after")]
    opening = [
        prose("judge", same_family=same_family),
        prose(
            "critic",
            same_family=summary["synthesis"].get("same_family"),
            accept_score=summary["synthesis"].get("accept_score"),
        ),
        Text(
            f"{model['reference']} was aligned to the charter “{charter['name']}”, version "
            f"{charter['version']}: {listed(map(stage_name, summary['stages'])).lower()}. "
            f"{_asked(models)} before and after. {_judged(judge, 'reference')}"
        ),
        prose("checks", trained_on=True),
    ]
    facts = [
        ("Base model", f"{model['reference']} ({short_hash(model['hash'])})"),
        ("Charter", f"{charter['name']} {charter['version']} ({short_hash(charter['hash'])})"),
        ("Seed", _text(summary["seed"])),
        (
            "Export: largest difference from the trained model's logits",
            scientific(summary["export_max_abs_diff"]),
        ),
        *_shared_facts(models[0], judge, "reference"),
    ]
    sections = [
        pressure_section(summary["pressure"]),
        verdict_section(evaluation["comparison"], same_family, evaluation["after"]["confidence"]),
        *_results(models, evaluation["comparison"]),
        training_section(summary["stages"], metrics, summary["seconds"]),
        attempts_section(summary["synthesis"]),
        sample_section(paired_samples(samples)),
        _limits(models, same_family, summary["seed"], trained=True),
        lineage_section(facts, lineage),
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
      summary: what `vcjax.evaluation.run.evaluate` returned, with or without measures.
      samples: see `appendix.single_samples`.
    """
    model, charter, judge = summary["model"], summary["charter"], summary["judge"]
    same_family = summary["same_family"]
    models = [EvaluatedModel("model", "after", dict(summary))]
    opening = [
        *judge_notices(summary),
        prose("judge", same_family=same_family),
        Text(
            f"{model['name']} was evaluated by the charter “{charter['name']}”. {_asked(models)}. "
            f"{_judged(judge, 'name')} One evaluation shows a level, not a change."
        ),
        prose("checks", trained_on=False),
    ]
    facts = [
        ("Model", f"{model['name']} (family {model['family']})"),
        ("Charter", f"{charter['name']} ({short_hash(charter['hash'])})"),
        ("Seed", _text(summary["seed"])),
        *_shared_facts(models[0], judge, "name"),
    ]
    sections = [
        *([swap_section(summary["swap"], summary["confidence"])] if "swap" in summary else []),
        *_results(models, None),
        *judges_section(summary),
        *measure_sections(summary),
        sample_section(single_samples(samples)),
        _limits(models, same_family, summary["seed"], trained=False),
        lineage_section(facts, ()),
    ]
    title = f"Evaluation of {model['name']} by the charter “{charter['name']}”"
    write_page(path, title, opening, sections)


def _results(models: Sequence[EvaluatedModel], comparison: dict[str, Any] | None) -> list[Section]:
    return [results_section(models, comparison), domain_section(models)]


def _asked(models: Sequence[EvaluatedModel]) -> str:
    """How many questions in which languages, without a full stop."""
    groups = models[0].summary["languages"]
    parts = [f"{count(groups[code]['n'])} in {language_name(code)}" for code in sorted(groups)]
    return f"It was asked {_questions(models)} benchmark questions ({', '.join(parts)})"


def _questions(models: Sequence[EvaluatedModel]) -> str:
    return count(sum(record["n"] for record in models[0].summary["languages"].values()))


def _limits(
    models: Sequence[EvaluatedModel], same_family: bool | None, seed: int | None, trained: bool
) -> Section:
    """What the run is not. `trained`: it trained the model, rather than only evaluate it."""
    text = prose(
        "limits",
        questions=_questions(models),
        seed=seed,
        same_family=same_family,
        trained=trained,
        people=any(
            judge["family"] == "human"
            for model in models
            for judge in model.summary.get("judges", {}).values()
        ),
    )
    return Section("limits", "What this run is not", [text])


def _judged(judge: Mapping[str, str] | None, key: str) -> str:
    if judge is None:
        return "No judge took part."
    return f"The judge was {judge[key]} (family {judge['family']})."


def _shared_facts(
    model: EvaluatedModel, judge: Mapping[str, str] | None, key: str
) -> list[tuple[str, str]]:
    benchmark = model.summary["benchmark"]
    return [
        ("Judge", DASH if judge is None else f"{judge[key]} (family {judge['family']})"),
        ("Benchmark", f"{benchmark['name']} ({short_hash(benchmark['hash'])})"),
        ("Benchmark questions", count(benchmark["items"])),
    ]


def _text(value: object) -> str:
    return DASH if value is None else str(value)
