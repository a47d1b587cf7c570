"""A run's numbered checkpoints as folders: which there are, and which are as they were saved.

`checkpoints/STEP` has Orbax's `params/` and `optimizer/`, a small `checkpoint.json`, and a
`lineage.json` like any other folder's: the run's config, what the run was made from, and the
SHA-256 of every file, since neither Orbax nor zarr notices a changed byte of an array.
"""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.options import AtomicityMode, AtomicityOptions

from vcjax.core.errors import UserError
from vcjax.core.files import hash_file
from vcjax.core.lineage import recorded_files
from vcjax.core.stores import absolute, is_remote

CHECKPOINTS = "checkpoints"
PARAMS = "params"
META = "checkpoint.json"
_UNFINISHED = re.compile(r"\d+\.orbax-checkpoint-tmp.*|\.\d+\.partial.*")  # of version 0.1, too


def is_checkpoint(name: str) -> bool:
    """Whether a file, by its name relative to a workdir, is part of a checkpoint."""
    return name.startswith(f"{CHECKPOINTS}/")


def saved_steps(workdir: Path) -> list[int]:
    """Steps of which there is a checkpoint, in rising order: those that Orbax has committed."""
    folder = absolute(workdir / CHECKPOINTS)
    return sorted(found.step for found in _names(folder).find_all(folder))


def unfinished_steps(workdir: Path) -> list[Path]:
    """Folders of checkpoints that were never committed."""
    folder = workdir / CHECKPOINTS
    there = list(folder.iterdir()) if folder.is_dir() else []
    if is_remote(folder):
        saved = {str(step) for step in saved_steps(workdir)}
        return [path for path in there if path.name.isdecimal() and path.name not in saved]
    return [path for path in there if _UNFINISHED.fullmatch(path.name)]


def step_folder(workdir: Path, step: int) -> Path:
    """The folder of a step's checkpoint, which need not exist yet."""
    return workdir / CHECKPOINTS / str(step)


def flaw(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> str | None:
    """Names the file of a checkpoint that is missing or changed; None where all is as it was saved.

    Args:
      wanted: which files to read, by their names relative to `folder`.
    """
    try:
        recorded = {name: saved for name, saved in recorded_files(folder).items() if wanted(name)}
    except UserError as error:
        return str(error)
    with ThreadPoolExecutor() as pool:
        # In threads, as hashlib releases the GIL: a checkpoint is read at the speed of the disk.
        found = pool.map(_hash_or_error, (folder / name for name in recorded))
        for name, now in zip(recorded, found, strict=True):
            if isinstance(now, OSError):
                return f"{folder / name}: {now.strerror}"
            if now != recorded[name]:
                return f"{folder / name}: not the bytes that were saved"
    return None


def newest_good(
    workdir: Path, find: Callable[[Path], str | None] = flaw
) -> tuple[int | None, dict[int, str]]:
    """Returns the last step that is as it was saved, and what is wrong with each step after it.

    Without any checkpoint the step is None.

    Raises:
      UserError: there are checkpoints, and not one of them is good.
    """
    flawed: dict[int, str] = {}
    # The newest first: where nothing is wrong, which is nearly always, one checkpoint is read.
    for step in reversed(saved_steps(workdir)):
        reason = find(step_folder(workdir, step))
        if reason is None:
            return step, flawed
        flawed[step] = reason
    if flawed:
        raise UserError(
            f"{workdir / CHECKPOINTS}: no checkpoint in it is as it was saved "
            f"({flawed[max(flawed)]}); bring one back, or remove the folder to begin again"
        )
    return None, {}


def _names(folder: Path) -> Any:
    """How Orbax finds checkpoints; those in a store have a file that marks them as committed."""
    mode = AtomicityMode.COMMIT_FILE if is_remote(folder) else AtomicityMode.ATOMIC_RENAME
    return ocp.path.step.standard_name_format(atomicity_options=AtomicityOptions(mode=mode))


def check_tree(folder: Path, wanted: Any) -> None:
    """Raises a UserError that names the first array in which a stored tree is another.

    Args:
      folder: a part of a checkpoint, a folder of Orbax's.
      wanted: a tree whose leaves have `shape` and `dtype`.
    """
    found = _arrays(ocp.PyTreeCheckpointHandler().metadata(epath.Path(absolute(folder))).tree)
    expected = _arrays(wanted)
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise UserError(
                f"{folder}: {name} is {found.get(name, 'absent')}, where this model and config "
                f"have {expected.get(name, 'none')}"
            )


def _arrays(tree: Any) -> dict[str, str]:
    leaves = ocp.tree.to_flat_dict(tree, sep=".").items()
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in leaves}


def _hash_or_error(path: Path) -> str | OSError:
    try:
        return hash_file(path)
    except OSError as error:
        return error
