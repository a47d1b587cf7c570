"""The summary of the demo, and what its report shows beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.files import read_jsonl
from vcjax.core.lineage import read_lineage
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.evaluation.comparison.differences import compare
from vcjax.evaluation.run import read_scores
from vcjax.road.demo.config import TRAINED, DemoConfig
from vcjax.road.evaluate import read_samples
from vcjax.road.pressure.change import changes
from vcjax.road.pressure.experiment import Experiment, read_preferences


def summarise(
    config: DemoConfig,
    charter: Charter,
    family: str,
    folders: Mapping[str, Path],
    results: Mapping[str, Any],
) -> dict[str, Any]:
    before, after = results["before"], results["after"]
    comparison = compare(
        read_scores(folders["before"]),
        read_scores(folders["after"]),
        held_out=load_benchmark(config.evaluation.benchmark, charter).held_out,
        seed=config.seed,
        confidence=before["confidence"],
    )
    base = read_lineage(folders["model"])["parents"][0]
    return {
        "model": {"reference": config.model, "hash": base["hash"]},
        "charter": {
            "name": charter.name,
            "version": charter.version,
            "hash": charter.content_hash,
        },
        "seed": config.seed,
        "judge": {"reference": config.model, "family": family},
        "same_family": after["same_family"],
        "stages": {name: results[name] for name in TRAINED},
        "synthesis": results["synthesis"],
        "evaluation": {"before": before, "after": after, "comparison": comparison},
        "pressure": _pressure(config, folders),
        "export_max_abs_diff": results["export"],
    }


def _pressure(config: DemoConfig, folders: Mapping[str, Path]) -> dict[str, Any]:
    """How often known, held-out facts are given up before and after; see `changes`."""
    experiment = Experiment(config.pressure, folders["knowledge"].parent)
    before, after = (read_preferences(folders[f"pressed_{when}"]) for when in ("before", "after"))
    return changes(experiment, before, after)


def paired_answers(before: Path, after: Path) -> list[dict[str, Any]]:
    """The answers of two evaluations to the same questions, side by side."""
    earlier = {sample["id"]: sample for sample in read_samples(before)}
    pairs = []
    for later in read_samples(after):
        first = earlier[later["id"]]
        pair = {name: later[name] for name in ("id", "lang", "domain", "question")}
        for side, sample in (("before", first), ("after", later)):
            pair[side] = sample["answer"]
            pair[f"score_{side}"] = sample["score"]
            pair[f"checks_{side}"] = sample["checks"]
        pairs.append(pair)
    return pairs


def metric_lines(folder: Path) -> list[dict[str, Any]]:
    return [line for _, line in read_jsonl(folder / "metrics.jsonl")]
