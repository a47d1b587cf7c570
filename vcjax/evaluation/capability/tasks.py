"""Which of the harness's tasks to run, and the data behind them."""

import difflib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from lm_eval.api.group import Group
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from vcjax.core.errors import UserError


def load_tasks(names: Sequence[str], folder: str | None) -> list[Task | Group]:
    """Loads tasks, groups and tags with their data.

    Args:
      names: of tasks in the harness or in `folder`, or YAML files.
      folder: of YAML files, which may name functions in Python files beside them.

    Raises:
      UserError: there is no such task (with the closest names), it can't be loaded, it is named
        twice, or it needs what isn't supported: images or sounds, metrics from the hub, and running
        the code that a model writes.
    """
    if folder is not None:
        _check_folder(Path(folder))
    # Without the harness's own tasks first, as indexing these takes long.
    manager = TaskManager(include_path=folder, include_defaults=False)
    if not all(_is_known(name, manager) for name in names):  # thousands of files
        manager = TaskManager(include_path=folder)
    for name in names:
        if not _is_known(name, manager):
            close = difflib.get_close_matches(name, manager.all_tasks, n=3)
            hint = f"; close to it: {', '.join(close)}" if close else ""
            raise UserError(f"tasks: no task {name!r}{hint}")
    loaded = [item for name in names for item in _load(name, manager)]
    for name, times in Counter(task.task_name for task in leaves(loaded)).items():
        if times > 1:
            raise UserError(f"tasks: {name!r} is named {times} times")
    for task in leaves(loaded):
        _check(task)
    return loaded


def check_rendering(tasks: Sequence[Task | Group], apply_chat_template: bool) -> None:
    """Raises: UserError, where conversations would be asked without a chat template."""
    for task in leaves(tasks):
        if getattr(task, "NEEDS_CHAT_TEMPLATE", False) and not apply_chat_template:
            raise UserError(
                f"task {task.task_name}: is of conversations; give --apply_chat_template"
            )


def local_data(tasks: Sequence[Task | Group]) -> list[Path]:
    """The tasks' data files that are on this machine."""
    files = {file for task in leaves(tasks) for file in _data_files(task)}
    return sorted(path for path in map(Path, files) if path.is_file())


def leaves(tasks: Sequence[Task | Group]) -> Iterator[Task]:
    """All tasks, those of groups included."""
    for item in tasks:
        yield from item.get_all_tasks() if isinstance(item, Group) else [item]


def _is_known(name: str, manager: TaskManager) -> bool:
    return name in manager.task_index or (name.endswith(".yaml") and Path(name).is_file())


def _check_folder(folder: Path) -> None:
    # The harness ignores files that it can't read.
    if not folder.is_dir():
        raise UserError(f"task_path: {folder}: no such folder")
    for path in sorted(folder.rglob("*.yaml")):
        try:
            load_yaml(path, resolve_func=False)
        except (yaml.YAMLError, ValueError, OSError) as error:
            raise UserError(f"{path}: not a task ({_one_line(error)})") from None


def _load(name: str, manager: TaskManager) -> list[Task | Group]:
    # The lineage has hashes of the folder, so importing its Python files mustn't add any.
    sys.dont_write_bytecode = True
    # Online, `evaluate` runs code from the hub for a metric that it doesn't know.
    os.environ["HF_EVALUATE_OFFLINE"] = "1"
    try:
        # One name at a time, so that an error names its task.
        loaded = manager.load([name])
    except Exception as error:  # whatever a task's own code or its data's reader raises
        raise UserError(f"task {name}: can't be loaded ({_one_line(error)})") from error
    groups = loaded.get("groups", {})
    # A group brings its tasks along, and would be evaluated twice with them.
    inner = {child for group in groups.values() for child in group.child_names}
    everything = {**groups, **loaded["tasks"]}
    return [item for key, item in everything.items() if key not in inner]


def _check(task: Task) -> None:
    metrics = {} if task.get_config("process_results") else getattr(task, "_metric_fn_list", {})
    unknown = [name for name, function in metrics.items() if function is None]
    needs = {
        f"metric {', '.join(unknown)}, which the harness doesn't have": bool(unknown),
        "to run code that the model writes": getattr(task, "UNSAFE_CODE", False),
        "images or sounds": getattr(task, "MULTIMODAL", False),
    }
    for what, needed in needs.items():
        if needed:
            raise UserError(f"task {task.task_name}: needs {what}, which isn't supported")


def _data_files(task: Task) -> Iterator[str]:
    found = (task.get_config("dataset_kwargs") or {}).get("data_files", [])
    for entry in found.values() if isinstance(found, dict) else [found]:
        yield from [entry] if isinstance(entry, str) else entry


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
