"""Where a folder came from: parents by content hash, config, code version, seed.

Every folder that a script writes holds a `lineage.json`; `verify` rehashes the chain behind it.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import hash_file, hash_text, read_json, write_json

NAME = "lineage.json"


@dataclass(frozen=True)
class Parent:
    """One thing a folder was made from: its role, how the user named it, and what it held."""

    role: str
    reference: str
    hash: str
    path: str | None = None

    @classmethod
    def of(cls, role: str, path: str | os.PathLike, reference: str | None = None) -> "Parent":
        """A parent that is a file or folder at `path`, hashed now."""
        return cls(role, reference or str(path), content_hash(path), str(Path(path).resolve()))


def write_lineage(
    folder: str | os.PathLike,
    *,
    kind: str,
    parents: list[Parent],
    config: dict[str, Any],
    seed: int | None = None,
    target: str | os.PathLike | None = None,
    files: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Hashes the folder's files and writes its `lineage.json`; returns what it wrote.

    Paths of parents are stored relative to the folder, so that a tree of runs can be moved whole.

    Args:
      target: where the folder will stand, if it is a temporary one that is renamed later.
      files: hashes of the files in `list_files(folder)`, where they are known already.
    """
    folder = Path(folder).resolve()
    home = Path(target).resolve() if target is not None else folder
    files = _hash_files(folder) if files is None else dict(sorted(files.items()))
    record = {
        "format": 1,
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "seed": seed,
        "config": config,
        "parents": [
            {
                "role": parent.role,
                "reference": parent.reference,
                "hash": parent.hash,
                "path": parent.path and os.path.relpath(parent.path, home),
            }
            for parent in parents
        ],
        "files": files,
        "hash": _combine(files),
    }
    write_json(folder / NAME, record)
    return record


def read_lineage(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads a folder's `lineage.json`; a folder without one is a UserError."""
    if not (Path(folder) / NAME).is_file():
        raise UserError(f"{folder}: no {NAME}: not a folder that a vcjax script finished")
    return read_json(Path(folder) / NAME)


def recorded_files(folder: str | os.PathLike) -> dict[str, str]:
    """The SHA-256 of each file as a folder's lineage has them, by name.

    Raises:
      UserError: there is no lineage, or its list of files isn't the one that was written.
    """
    record = read_lineage(folder)
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, dict) or _combine(files) != record.get("hash"):
        raise UserError(f"{Path(folder) / NAME}: its own hash doesn't match its file list")
    return files


def content_hash(path: str | os.PathLike) -> str:
    """Hash of a file's bytes, or of the names and bytes of all files below a folder."""
    path = Path(path)
    if path.is_file():
        return hash_file(path)
    if (path / NAME).is_file():
        return read_json(path / NAME)["hash"]
    return _combine(_hash_files(path))


@dataclass(frozen=True)
class Finding:
    """One line of a verification: `status` is `ok`, `changed`, `missing` or `absent`."""

    status: str
    subject: str
    detail: str = ""


def verify(folder: str | os.PathLike) -> Iterator[Finding]:
    """Rehashes a folder and, through its parents, everything it was made from.

    A parent that isn't at its recorded place is `absent`: its part of the chain is unproven.
    """
    yield from _verify(Path(folder).resolve(), set())


def _verify(folder: Path, seen: set[Path]) -> Iterator[Finding]:
    if folder in seen:
        return
    seen.add(folder)
    record = read_lineage(folder)
    bad = False
    for name, digest in record["files"].items():
        if not (folder / name).is_file():
            bad = True
            yield Finding("missing", str(folder / name))
        elif hash_file(folder / name) != digest:
            bad = True
            yield Finding("changed", str(folder / name), "not the bytes that were recorded")
    if _combine(record["files"]) != record["hash"]:
        bad = True
        yield Finding("changed", str(folder / NAME), "its own hash doesn't match its file list")
    if not bad:
        yield Finding("ok", str(folder), f"{len(record['files'])} files")
    for parent in record["parents"]:
        label = f"{parent['role']} {parent['reference']}"
        path = (folder / parent["path"]).resolve() if parent["path"] else None
        if path is None or not path.exists():
            yield Finding("absent", label, "not at its recorded place")
        elif content_hash(path) != parent["hash"]:
            yield Finding("changed", label, f"{path} is not what {folder.name} was made from")
        elif path.is_dir() and (path / NAME).is_file():
            yield from _verify(path, seen)
        else:
            yield Finding("ok", label, str(path))


def code_version() -> dict[str, str | None]:
    """Version of the installed package and, in a git checkout, its commit."""
    root = Path(__file__).resolve().parents[2]
    commit = None
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    try:
        release = version("vcjax")
    except PackageNotFoundError:  # run from a checkout that isn't installed
        release = "0+checkout"
    return {"version": release, "commit": commit}


def list_files(folder: str | os.PathLike) -> list[str]:
    """Sorted names of the files that prove what a folder holds, all levels."""
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such file or folder")
    names = (path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())
    return sorted(name.as_posix() for name in names if not _ignored(name))


def _hash_files(folder: Path) -> dict[str, str]:
    return {name: hash_file(folder / name) for name in list_files(folder)}


def _ignored(name: Path) -> bool:
    """Lineage itself, hidden files, TensorBoard's copy of the metrics and what SQLite keeps beside
    a database that is being read prove nothing."""
    hidden = any(part.startswith(".") for part in name.parts)
    beside = name.name.endswith((".sqlite-wal", ".sqlite-shm"))
    return hidden or beside or name.name == NAME or name.name.startswith("events.out.tfevents")


def _combine(files: dict[str, str]) -> str:
    return hash_text("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())))
