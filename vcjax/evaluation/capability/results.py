"""What the harness returns, as the record that a run leaves."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from vcjax.core.lineage import code_version

_PACKAGES = ("lm_eval", "datasets", "transformers", "jax")


def versions() -> dict[str, str | None]:
    """Of the code and of the packages that a score may depend on."""
    code = code_version()
    return {"vcjax": code["version"], "commit": code["commit"]} | {
        name: version(name) for name in _PACKAGES
    }


def tidy(results: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by task and by group.

    Each is `{alias, tasks, n, n_total, num_fewshot, version, metrics}`: `tasks` are those of a
    group, and what it doesn't have is left out; `metrics` go from `name,filter` to
    `{value, stderr, higher_is_better}`, with None for what the harness doesn't give.
    """
    groups = results["group_subtasks"]
    tasks = {name: _tidied(name, results) for name in results["results"] if name not in groups}
    return {"tasks": tasks, "groups": {name: _tidied(name, results) for name in groups}}


def lines(summary: Mapping[str, Any]) -> list[str]:
    """Each score in a line, for a terminal."""
    return [
        f"{name}  {key}  {metric['value']:.4f}"
        + ("" if metric["stderr"] is None else f" ± {metric['stderr']:.4f}")
        + (f"  n={entry['n']}" if "n" in entry else "")
        for kind in ("tasks", "groups")
        for name, entry in summary[kind].items()
        for key, metric in entry["metrics"].items()
    ]


def _tidied(name: str, results: Mapping[str, Any]) -> dict[str, Any]:
    values = results["results"][name]
    higher = results["higher_is_better"].get(name, {})
    metrics = {}
    for key, value in values.items():
        metric, _, filtered = key.partition(",")
        if filtered and not metric.endswith("_stderr"):
            metrics[key] = {
                "value": _number(value),
                "stderr": _number(values.get(f"{metric}_stderr,{filtered}")),
                "higher_is_better": higher.get(metric),
            }
    counts = results["n-samples"].get(name)
    about = {
        "alias": values.get("alias", name).strip(" -"),
        "tasks": results["group_subtasks"].get(name),
        "n": counts and counts["effective"],
        "n_total": counts and counts["original"],
        "num_fewshot": results["n-shot"].get(name),
        "version": results["versions"].get(name),
    }
    known = {field: value for field, value in about.items() if value not in (None, "N/A")}
    return {**known, "metrics": metrics}


def _number(value: Any) -> float | None:
    """The harness writes `N/A` where there is none, and NumPy's numbers."""
    if value is None or isinstance(value, str) or math.isnan(value):
        return None
    return float(value)
