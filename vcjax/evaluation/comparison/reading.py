"""Opens a finished run by what its content is, not by its name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.stores import absolute, as_path, is_there, reached
from vcjax.evaluation.comparison.logs import inspect, lm_eval, promptfoo, pyrit
from vcjax.evaluation.comparison.logs.samples import Log, LogOptions, scored_run
from vcjax.evaluation.comparison.runs import ScoredRun
from vcjax.evaluation.comparison.workdirs import read_workdir

_ZIP = b"PK\x03\x04"
_KNOWN = "a workdir of launch.evaluate, or a log of Inspect, lm-eval, promptfoo or PyRIT"


def read_runs(
    references: Sequence[str], names: Sequence[str] = (), options: LogOptions | None = None
) -> list[ScoredRun]:
    """Reads each run.

    Args:
      references: paths, also in stores; of a file with several models `PATH#MODEL`.
      names: what reports call them; by default their folders or files, where these differ.

    Raises:
      UserError: nothing is there, or it is no finished run.
    """
    if names and len(names) != len(references):
        raise UserError(f"--names: {len(names)} names for {len(references)} runs")
    return [
        read_run(reference, name, options or LogOptions())
        for reference, name in zip(references, names or _names(references), strict=True)
    ]


def read_run(reference: str | Path, name: str, options: LogOptions | None = None) -> ScoredRun:
    """Raises: UserError, see `read_runs`."""
    path, model = split_reference(str(reference))
    if not path.exists():
        raise UserError(f"--runs: {path}: no such file or folder")
    if (path / LINEAGE).is_file() or (path / "answers.jsonl").is_file():
        return read_workdir(path, name)
    return scored_run(_log(path, model), path, name, options or LogOptions())


def split_reference(reference: str) -> tuple[Path, str]:
    """The path, and the model within it if one is named."""
    # A path may have this sign itself.
    if "#" not in reference or is_there(as_path(reference)):
        return reached(reference), ""
    path, _, model = reference.rpartition("#")
    return reached(path), model


def _log(path: Path, model: str) -> Log:
    if path.is_dir():
        if files := lm_eval.sample_files(path):
            return lm_eval.read_samples(files)
        found = [each for each in sorted(path.iterdir()) if each.suffix in (".eval", ".json")]
        if len(found) != 1:
            raise UserError(f"{path}: is a folder, but not {_KNOWN}; name a file in it")
        path = found[0]
    with path.open("rb") as stream:
        # By the first bytes: an `.eval` may have been renamed, and no JSON begins so.
        if stream.read(len(_ZIP)) == _ZIP:
            return inspect.read_eval(path)
    content, is_lines = _content(path)
    if is_lines and lm_eval.is_sample(content):
        return lm_eval.read_samples([path])
    if inspect.is_json_log(content):
        return inspect.read_json_log(content, path)
    if promptfoo.is_results(content):
        return promptfoo.read_results(content, path, model)
    if pyrit.is_export(content):
        return pyrit.read_export(content, path)
    raise UserError(f"{path}: is not {_KNOWN}")


def _content(path: Path) -> tuple[Any, bool]:
    """The JSON of a file, or its first line's where it has one value a line."""
    with path.open("rb") as stream:
        first = stream.readline()
        more = bool(stream.readline().strip())
    try:
        if more:
            json.loads(first)
            return next(read_jsonl(path))[1], True
    except ValueError:  # a value that goes on after the first line, or no JSON at all
        pass
    content = read_json(path)
    return content, lm_eval.is_sample(content)


def _names(references: Sequence[str]) -> list[str]:
    stems = []
    for reference in references:
        path, model = split_reference(reference)
        stems.append(model or absolute(path).name)
    return stems if len(set(stems)) == len(stems) else list(references)
