"""The two reports: of a whole run, with its last lines on a terminal, and of one evaluation."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.core.stores import short_name
from vcjax.report.appendix import lineage_section, paired_samples, sample_section, single_samples
from vcjax.report.changes import comparison_readings, verdict_section
from vcjax.report.formats import DASH, count, language_name, listed, scientific, short_hash
from vcjax.report.judging import judge_notices, judges_section
from vcjax.report.measures import measure_sections
from vcjax.report.messages import commas, recorded, together, tr, written_in
from vcjax.report.page import Block, Notice, Section, Text, prose, write_page
from vcjax.report.pressure.change import pressure_lines, pressure_section
from vcjax.report.results import EvaluatedModel, domain_section, results_section
from vcjax.report.swap import swap_section
from vcjax.report.training import attempts_section, stage_name, training_section
from vcjax.stats.intervals import Interval
from vcjax.text.language import Language

_KINDS = ("attempts", "accepted", "rejected", "unscored", "blocked")


def write_demo_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    metrics: Mapping[str, Sequence[dict[str, Any]]],
    samples: Sequence[dict[str, Any]] = (),
    lineage: Sequence[dict[str, Any]] = (),
    language: Language = "en",
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
      language: that the report is written in.
    """
    with written_in(language, summary["evaluation"]["before"]["charter"].get("domains")):
        write_page(path, *_demo(summary, metrics, samples, lineage))


def _demo(
    summary: Mapping[str, Any],
    metrics: Mapping[str, Sequence[dict[str, Any]]],
    samples: Sequence[dict[str, Any]],
    lineage: Sequence[dict[str, Any]],
) -> tuple[str, list[Block], list[Section]]:
    """Title, opening and sections of the report of a whole run."""
    model, charter, judge = summary["model"], summary["charter"], summary["judge"]
    evaluation, same_family = summary["evaluation"], summary["same_family"]
    if judge is None:
        same_family = None  # the sections read this as "nobody judged"
    models = [EvaluatedModel(name, name, evaluation[name]) for name in ("before", "after")]
    opening: list[Block] = [
        prose("judge", same_family=same_family),
        prose(
            "critic",
            same_family=summary["synthesis"].get("same_family"),
            accept_score=summary["synthesis"].get("accept_score"),
        ),
        Text(
            together(
                tr(
                    "{model} was aligned to the charter “{charter}”, version {version}: {stages}.",
                    model=model["reference"],
                    charter=charter["name"],
                    version=charter["version"],
                    stages=listed(map(stage_name, summary["stages"])).lower(),
                ),
                _asked(models, twice=True),
                _judged(judge, "reference"),
            )
        ),
        prose("checks", trained_on=True),
    ]
    facts = [
        (tr("Base model"), _hashed(model["reference"], model["hash"])),
        (tr("Charter"), _hashed(f"{charter['name']} {charter['version']}", charter["hash"])),
        (tr("Seed"), _text(summary["seed"])),
        (
            tr("Export: largest difference from the trained model's logits"),
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
    title = tr(
        "Alignment of {model} to the charter “{charter}”",
        model=short_name(model["reference"]),
        charter=charter["name"],
    )
    return title, opening, sections


def demo_lines(summary: Mapping[str, Any]) -> list[str]:
    """The last lines of the demo: training, synthesis, the evaluation before and after, and facts
    under pressure. They state what the report states.

    Args:
      summary: what `vcjax.road.demo.run.run_demo` returned.
    """
    lines = [
        f"{name:12} loss {stage['first_loss']:.3f} -> {stage['last_loss']:.3f}, "
        f"{stage['tokens']} tokens"
        for name, stage in summary["stages"].items()
    ]
    synthesis = ", ".join(f"{summary['synthesis'][kind]} {kind}" for kind in _KINDS)
    lines.append(f"synthesis    {synthesis}")
    before, after = (summary["evaluation"][side] for side in ("before", "after"))
    read_as = comparison_readings(summary["evaluation"]["comparison"], after["confidence"])
    # A terminal's lines are in English, whatever the language of the report.
    for lang in before["languages"]:
        scores = " -> ".join(_score(side["languages"][lang]) for side in (before, after))
        rates = " -> ".join(
            _rate(side["all_checks"]["languages"][lang]) for side in (before, after)
        )
        judge, checks = (read_as["languages", lang, name] for name in ("judge", "all_checks"))
        lines.append(f"{lang:12} judge {scores}: {judge}; all rule checks {rates}: {checks}")
    if summary["same_family"]:
        lines.append("The judge is of the judged model's family: its scores are no evidence.")
    return [*lines, *pressure_lines(summary["pressure"])]


def evaluation_rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The table of an evaluation for a terminal, its head first: by language, all questions and
    their parts.

    Args:
      summary: what `vcjax.road.evaluate.run_evaluation` returned.
    """
    rows = [("", "questions", "unscored", "judge, 0 to 5", "all rule checks kept")]
    for group, name in (("languages", "all"), ("trained", "trained"), ("held_out", "held out")):
        for lang, cell in summary[group].items():
            # Where nothing is held out, the trained part is the whole.
            if cell["n"] and (group == "languages" or summary["held_out"]):
                kept = summary["all_checks"][group].get(lang)
                rate = _rate(kept) if kept else "–"
                rows.append(
                    (f"{lang}, {name}", str(cell["n"]), str(cell["unscored"]), _score(cell), rate)
                )
    return rows


def write_evaluation_report(
    path: str | os.PathLike,
    *,
    summary: Mapping[str, Any],
    samples: Sequence[dict[str, Any]] = (),
    language: Language = "en",
) -> None:
    """Writes the report of one evaluation.

    Args:
      summary: what `vcjax.evaluation.run.evaluate` returned, with or without measures.
      samples: see `appendix.single_samples`.
      language: that the report is written in.
    """
    with written_in(language, summary["charter"].get("domains")):
        write_page(path, *_evaluation(summary, samples))


def _evaluation(
    summary: Mapping[str, Any], samples: Sequence[dict[str, Any]]
) -> tuple[str, list[Block], list[Section]]:
    """Title, opening and sections of the report of an evaluation."""
    model, charter, judge = summary["model"], summary["charter"], summary["judge"]
    same_family = summary["same_family"]
    models = [EvaluatedModel("model", "after", dict(summary))]
    opening = [
        *judge_notices(summary),
        *_problems(summary),
        prose("judge", same_family=same_family),
        Text(
            together(
                tr(
                    "{model} was evaluated by the charter “{charter}”.",
                    model=model["name"],
                    charter=charter["name"],
                ),
                _asked(models),
                _judged(judge, "name"),
                tr("One evaluation shows a level, not a change."),
            )
        ),
        prose("checks", trained_on=False),
    ]
    facts = [
        (tr("Model"), _of_family(model["name"], model["family"])),
        (tr("Charter"), _hashed(charter["name"], charter["hash"])),
        (tr("Seed"), _text(summary["seed"])),
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
    title = tr(
        "Evaluation of {model} by the charter “{charter}”",
        model=short_name(model["name"]),
        charter=charter["name"],
    )
    return title, opening, sections


def _problems(summary: Mapping[str, Any]) -> list[Block]:
    problems = map(recorded, summary.get("problems", ()))
    text = together(*(tr("{sentence}.", sentence=each) for each in problems))
    return [Notice(tr("What is wrong with this evaluation"), text, "warning")] if text else []


def _results(models: Sequence[EvaluatedModel], comparison: dict[str, Any] | None) -> list[Section]:
    return [results_section(models, comparison), domain_section(models)]


def _asked(models: Sequence[EvaluatedModel], *, twice: bool = False) -> str:
    """How many questions in which languages; `twice`: before and after."""
    groups = models[0].summary["languages"]
    parts = [
        tr("{n} in {language}", n=count(groups[code]["n"]), language=language_name(code))
        for code in sorted(groups)
    ]
    asked = tr(
        "It was asked {n} benchmark questions ({languages}) before and after"
        if twice
        else "It was asked {n} benchmark questions ({languages})",
        n=_questions(models),
        languages=commas(*parts),
    )
    return tr("{sentence}.", sentence=asked)


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
    return Section("limits", tr("What this run is not"), [text])


def _judged(judge: Mapping[str, str] | None, key: str) -> str:
    if judge is None:
        return tr("No judge took part.")
    return tr("The judge was {judge}.", judge=_of_family(judge[key], judge["family"]))


def _shared_facts(
    model: EvaluatedModel, judge: Mapping[str, str] | None, key: str
) -> list[tuple[str, str]]:
    benchmark = model.summary["benchmark"]
    return [
        (tr("Judge"), DASH if judge is None else _of_family(judge[key], judge["family"])),
        (tr("Benchmark"), _hashed(benchmark["name"], benchmark["hash"])),
        (tr("Benchmark questions"), count(benchmark["items"])),
    ]


def _of_family(name: str, family: str) -> str:
    return tr("{name} (family {family})", name=name, family=family)


def _hashed(name: str, digest: str) -> str:
    return tr("{name} ({hash})", name=name, hash=short_hash(digest))


def _text(value: object) -> str:
    return DASH if value is None else str(value)


def _score(cell: Mapping[str, Any]) -> str:
    return "unscored" if cell["mean"] is None else f"{Interval.of(cell, 'mean'):.2f}"


def _rate(cell: Mapping[str, Any]) -> str:
    return f"{Interval.of(cell, 'rate'):.0%}"
