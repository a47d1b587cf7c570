"""What the whole road comes to: its summary and its report."""

from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.files import read_jsonl, write_json
from vcjax.core.lineage import read_lineage
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.evaluation.run import read_scores
from vcjax.evaluation.summarise import compare
from vcjax.report import write_demo_report
from vcjax.road.config import RoadConfig
from vcjax.road.measure import read_samples


def write_outcome(
    workdir: Path,
    folders: dict[str, Path],
    config: RoadConfig,
    charter: Charter,
    family: str,
    results: dict[str, Any],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Writes `summary.json` and `report.html`; returns the summary.

    Args:
      folders: of the stages, by name, in the order of the road.
      results: what each stage returned, by name.
    """
    before, after = results["before"], results["after"]
    comparison = compare(
        read_scores(folders["before"]),
        read_scores(folders["after"]),
        held_out=load_benchmark(config.evaluation.benchmark, charter).held_out,
        seed=config.seed,
        confidence=before["confidence"],
    )
    stages = {name: results[name] for name in ("cpt", "sft", "adversarial")}
    about = {"name": charter.name, "version": charter.version, "hash": charter.content_hash}
    base = read_lineage(folders["model"])["parents"][0]
    summary = {
        "model": {"reference": config.model, "hash": base["hash"]},
        "charter": about,
        "seed": config.seed,
        "judge": {"reference": config.model, "family": family},
        "same_family": after["same_family"],
        "stages": stages,
        "synthesis": results["synthesis"],
        "evaluation": {"before": before, "after": after, "comparison": comparison},
        "export_max_abs_diff": results["export"],
        "seconds": seconds,
    }
    write_json(workdir / "summary.json", summary)
    write_demo_report(
        workdir / "report.html",
        summary=summary,
        metrics={name: _metrics(folders[name]) for name in stages},
        samples=_samples(folders["before"], folders["after"]),
        lineage=[{**read_lineage(path), "folder": name} for name, path in folders.items()],
    )
    return summary


def _samples(before: Path, after: Path) -> list[dict[str, Any]]:
    earlier = {sample["id"]: sample for sample in read_samples(before)}
    pairs = []
    for later in read_samples(after):
        first = earlier[later["id"]]
        pairs.append(
            {
                **{name: later[name] for name in ("id", "lang", "domain", "question")},
                **{"before": first["answer"], "after": later["answer"]},
                **{"score_before": first["score"], "score_after": later["score"]},
                **{"checks_before": first["checks"], "checks_after": later["checks"]},
            }
        )
    return pairs


def _metrics(folder: Path) -> list[dict[str, Any]]:
    return [line for _, line in read_jsonl(folder / "metrics.jsonl")]
