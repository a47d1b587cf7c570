"""A folder that belongs to one run of one config, and to one process at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.locks import hold
from vcjax.core.stores import is_remote, on_disk

_LONGEST = 255
"""Bytes of a name, in the file systems that there are."""

_ADDED = {
    "columns": "",
    "tool_turns": "leave_out",
    "require_domain": False,
    "validation.similarity": 0.8,
}
"""Fields, in any section, that runs of earlier versions lacked, with the values that leave such
a run what it was."""


def check_target(path: Path) -> None:
    """Raises a UserError where nothing can be written to a folder `path`, there or to be made."""
    if is_remote(path):
        return  # its store says so when it is written to
    there = _check_place(path)
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{path}: {there} can't be written to")


def _check_place(path: Path) -> Path:
    """The nearest folder that is there; a UserError where there can be no folder `path`."""
    if is_remote(path):
        return path
    if any(len(os.fsencode(part)) > _LONGEST for part in path.parts):
        raise UserError(f"{path}: a name in it is longer than {_LONGEST} bytes")
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir():
        what = "is a file; a workdir is a folder" if there == path else f"{there} is a file"
        raise UserError(f"{path}: {what}")
    return there


def check_config(workdir: Path, config: dict[str, Any], extendable: tuple[str, ...] = ()) -> None:
    """Raises a UserError that shows the difference if `workdir` was used with another config.

    The fields in `extendable` may grow: a finished run is extended by raising them. A workdir that
    wasn't used must be one that can be written to.
    """
    _check_place(workdir)
    path = workdir / "config.json"
    if not path.is_file():
        check_target(workdir)
        return
    new = _flat(config)
    added = {
        field: value
        for field in new
        for name, value in _ADDED.items()
        if f".{field}".endswith(f".{name}")
    }
    old = {**added, **_flat(read_json(path))}
    changes = []
    for field in sorted(old.keys() | new.keys()):
        before, after = old.get(field), new.get(field)
        grown = field in extendable and before is not None and after is not None and after >= before
        if before != after and not grown:
            changes.append(f"{field}: {before!r} -> {after!r}")
    if changes:
        raise UserError(
            f"{workdir}: holds a run of another config ({'; '.join(changes)}); "
            "choose another workdir"
        )


def has_config(workdir: Path, config: dict[str, Any]) -> bool:
    """Whether `workdir` was last used with this very config, nothing raised."""
    path = workdir / "config.json"
    return path.is_file() and _flat(read_json(path)) == _flat(config)


@contextmanager
def opened(
    workdir: str | Path, config: dict[str, Any], extendable: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Makes or reopens `workdir`, records its config, and holds it against a second process.

    Call it after every input has been checked: it is the first thing that a run writes.

    Raises:
      UserError: the workdir has another config, or another process is running in it.
    """
    workdir = on_disk(workdir)
    check_target(workdir)
    check_config(workdir, config, extendable)
    workdir.mkdir(parents=True, exist_ok=True)
    with hold(workdir / ".lock", f"{workdir}: another run is using it"):
        write_json(workdir / "config.json", config)
        yield workdir


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
