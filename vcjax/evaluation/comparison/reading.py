"""Opens a finished run by what its content is, not by its name."""

from collections.abc import Sequence
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.evaluation.comparison.runs import ScoredRun
from vcjax.evaluation.comparison.workdirs import read_workdir


def read_runs(paths: Sequence[str], names: Sequence[str] = ()) -> list[ScoredRun]:
    """Reads each run.

    Args:
      names: what reports call them; by default their folders or files, where these differ.

    Raises:
      UserError: nothing is there, or it is no finished run.
    """
    if names and len(names) != len(paths):
        raise UserError(f"--names: {len(names)} names for {len(paths)} runs")
    return [
        read_run(Path(path), name) for path, name in zip(paths, names or _names(paths), strict=True)
    ]


def read_run(path: Path, name: str) -> ScoredRun:
    """Raises: UserError, see `read_runs`."""
    if not path.exists():
        raise UserError(f"--runs: {path}: no such file or folder")
    return read_workdir(path, name)


def _names(paths: Sequence[str]) -> list[str]:
    stems = [Path(path).resolve().name for path in paths]
    return stems if len(set(stems)) == len(stems) else list(paths)
