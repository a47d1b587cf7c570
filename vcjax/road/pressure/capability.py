"""What every arm can do beside keeping facts: tasks of the evaluation harness.

config.capability --> check_capability   before the first stage
                  --> measure_tasks      one arm, as `launch.capability` does it
                  --> task_scores        all runs of an arm
                  --> right_answers      document by document, for differences of two arms in pairs
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from vcjax.adversarial.config import split_names
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.generate.engine_config import EngineConfig

CAPABILITY, RESULT, SAMPLES = "capability", "capability.json", "samples.jsonl"


class HarnessTasks(Protocol):
    """The fields of a config that name tasks of the harness; see `PressureConfig`."""

    @property
    def capability(self) -> str: ...
    @property
    def capability_path(self) -> str: ...
    @property
    def capability_limit(self) -> int: ...


def check_capability(config: HarnessTasks) -> None:
    """Raises: UserError, if tasks are named that can't be done, before anything is measured."""
    if not (tasks := split_names(config.capability)):
        return
    if find_spec("lm_eval") is None:
        raise UserError("config.capability: needs the harness: pip install 'vcjax[eval]'")
    from vcjax.evaluation.capability.tasks import load_tasks  # imports the harness

    load_tasks(tasks, config.capability_path or None)


def measure_tasks(config: HarnessTasks, engine: EngineConfig, model: str, folder: Path) -> None:
    """Does the tasks with a model, unless that is done; see `vcjax.evaluation.capability.run`."""
    from vcjax.evaluation.capability.run import CapabilityConfig, measure_capability

    measure_capability(
        CapabilityConfig(
            model=model,
            tasks=tuple(split_names(config.capability)),
            task_path=config.capability_path or None,
            limit=config.capability_limit or None,
            **engine.engine_fields,
        ),
        folder,
    )


def task_scores(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By task `{metric, mean, stderr, n, runs}`: of each task the first metric that it reports.

    `runs` are the values of all runs of the arm, and `stderr` is that of one of them, over
    documents.
    """
    found = {}
    for task, own in runs[0]["tasks"].items():
        # The task's file decides which metric is the first.
        name, metric = next(iter(own["metrics"].items()))
        values = [run["tasks"][task]["metrics"][name]["value"] for run in runs]
        found[task] = {
            "metric": name.partition(",")[0],
            "mean": sum(values) / len(values),
            "stderr": metric["stderr"],
            "n": own["n"],
            "runs": values,
        }
    return found


def right_answers(folder: Path) -> dict[str, dict[str, bool]]:
    """By task and document, whether the answer is right.

    Only of tasks whose first metric is 0 or 1 for each document, such as an accuracy, and better
    where it is higher. Empty where no task was done, or by a version that stored no samples.
    """
    if not (folder / RESULT).is_file() or not (folder / SAMPLES).is_file():
        return {}
    found: dict[str, dict[str, bool]] = {}
    samples = [sample for _, sample in read_jsonl(folder / SAMPLES)]
    for task, own in read_json(folder / RESULT)["tasks"].items():
        name, metric = next(iter(own["metrics"].items()))
        values = {
            str(sample["document"]): sample["metrics"][name]
            for sample in samples
            if sample["task"] == task and name in sample["metrics"]
        }
        if values and metric["higher_is_better"] and set(values.values()) <= {0.0, 1.0}:
            found[task] = {document: bool(value) for document, value in values.items()}
    return found
