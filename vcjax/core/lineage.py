"""Where a folder came from: parents by content hash, config, code version, seed.

Every folder that a script writes has a `lineage.json`; `verify` rehashes the chain behind it.
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import hash_file, hash_text, json_text, read_json, write_json
from vcjax.core.hashes import cached_hashes
from vcjax.core.stores import absolute, as_path, files_below, rejoined, relative

NAME = "lineage.json"


@dataclass(frozen=True)
class Parent:
    """One input that a folder was made from.

    Attributes:
      role: what it was for.
      reference: how the user named it.
      hash: of its content; see `content_hash`.
      path: where it was; None for what is on no disk.
      files: names below `path` of the files that it consists of, where they aren't all.
    """

    role: str
    reference: str
    hash: str
    path: str | None = None
    files: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        role: str,
        path: str | os.PathLike,
        reference: str | None = None,
        files: tuple[str, ...] | None = None,
    ) -> "Parent":
        """A parent that is a file or folder at `path`, hashed now."""
        location = str(absolute(path))
        return cls(role, reference or str(path), content_hash(path, files), location, files)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], home: Path) -> "Parent":
        """What `to_record` wrote into a file in the folder `home`."""
        path, files = record["path"], record.get("files")
        return cls(
            record["role"],
            record["reference"],
            record["hash"],
            path and rejoined(path, home),
            None if files is None else tuple(files),
        )

    def to_record(self, home: Path) -> dict[str, Any]:
        """A JSON object, its path relative to `home`, so that a tree of runs can be moved whole."""
        record: dict[str, Any] = {"role": self.role, "reference": self.reference, "hash": self.hash}
        record["path"] = self.path and relative(self.path, home)
        return record if self.files is None else {**record, "files": list(self.files)}


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

    Args:
      target: the final path of the folder, if it is a temporary one that is renamed later.
      files: hashes of the files in `list_files(folder)`, where they are known already.
    """
    folder = absolute(folder)
    home = absolute(target) if target is not None else folder
    files = hash_files(folder) if files is None else dict(sorted(files.items()))
    record = {
        "format": 2,
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "seed": seed,
        "config": config,
        "parents": [parent.to_record(home) for parent in parents],
        "files": files,
        "hash": _combine(files),
    }
    record["seal"] = _seal(record)
    write_json(folder / NAME, record)
    return record


def read_lineage(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads a folder's `lineage.json`; a folder without one is a UserError."""
    if not (as_path(folder) / NAME).is_file():
        raise UserError(f"{folder}: no {NAME}: not a folder that a vcjax script finished")
    return read_json(as_path(folder) / NAME)


def stage_lineages(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """The lineages of a run's stages, as a report shows them: each with its name as `folder`.

    Args:
      names: of the stages, whose folders are in `folder`.
    """
    return [{**read_lineage(folder / name), "folder": name} for name in names]


def stage_parents(folder: Path, names: Iterable[str]) -> list[Parent]:
    """The folders of a run's stages as parents of the whole."""
    return [Parent.of(name, folder / name) for name in names]


def recorded_files(folder: str | os.PathLike) -> dict[str, str]:
    """The SHA-256 of each file as a folder's lineage has them, by name.

    Raises:
      UserError: there is no lineage, or its list of files isn't the one that was written.
    """
    record = read_lineage(folder)
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, dict) or _combine(files) != record.get("hash"):
        raise UserError(f"{as_path(folder) / NAME}: its own hash doesn't match its file list")
    return files


def content_hash(path: str | os.PathLike, files: Iterable[str] | None = None) -> str:
    """Hash of a file's bytes, or of the names and bytes of all files below a folder.

    What is there counts, not what a lineage has recorded of it. Large files that haven't changed
    since they were last hashed aren't read again; see `vcjax.core.hashes`.

    Args:
      files: names of the only files that count, of a folder that is shared with others.
    """
    path = as_path(path)
    if path.is_file():
        return cached_hashes([path])[0]
    return _combine(hash_files(path, files))


@dataclass(frozen=True)
class Finding:
    """One line of a verification: `status` is `ok`, `changed`, `missing` or `absent`."""

    status: str
    subject: str
    detail: str = ""


def verify(folder: str | os.PathLike) -> Iterator[Finding]:
    """Rehashes a folder and, through its parents, everything it was made from.

    Every byte is read, whatever its file's modification time. A parent that isn't at its recorded
    path is `absent`: its part of the chain is unproven.
    """
    # A file that several runs name is hashed once: base models are most of the bytes of a chain.
    yield from _verify(absolute(folder), set(), cache(hash_file))


def _verify(folder: Path, visited: set[Path], digest: Callable[[Path], str]) -> Iterator[Finding]:
    if folder in visited:  # several runs have one base model, and its chain is long to hash
        return
    visited.add(folder)
    record, flaw = _read_sealed(folder)
    if flaw:
        yield Finding("changed", str(folder / NAME), flaw)
        return
    bad = False
    for name, recorded in record["files"].items():
        if not (folder / name).is_file():
            bad = True
            yield Finding("missing", str(folder / name))
        elif digest(folder / name) != recorded:
            bad = True
            yield Finding("changed", str(folder / name), "not the bytes that were recorded")
    if not bad:
        yield Finding("ok", str(folder), f"{len(record['files'])} files")
    for parent in (Parent.from_record(each, folder) for each in record["parents"]):
        yield from _verify_parent(folder, parent, visited, digest)


def _verify_parent(
    folder: Path, parent: Parent, visited: set[Path], digest: Callable[[Path], str]
) -> Iterator[Finding]:
    label = f"{parent.role} {parent.reference}"
    path = as_path(parent.path) if parent.path else None
    if path is None or not path.exists():
        yield Finding("absent", label, "not at its recorded path")
        return
    # A folder with its own lineage is followed further; a plain file, or a hub's snapshot, ends the
    # chain.
    linked = parent.files is None and (path / NAME).is_file()
    # A parent as its own lineage has it is proven by the walk through it, which names each file.
    as_recorded = linked and _read_sealed(path)[0].get("hash") == parent.hash
    if not as_recorded and _content(path, parent.files, digest) != parent.hash:
        yield Finding("changed", label, f"{path} is not what {folder.name} was made from")
    elif not linked:
        yield Finding("ok", label, str(path))
    if linked:
        yield from _verify(path, visited, digest)


def _content(
    path: Path, files: tuple[str, ...] | None, digest: Callable[[Path], str]
) -> str | None:
    """`content_hash`, of which every byte is read; None where one of its files is gone."""
    if path.is_file():
        return digest(path)
    names = list_files(path) if files is None else files
    if not all((path / name).is_file() for name in names):
        return None
    return _combine({name: digest(path / name) for name in names})


def _read_sealed(folder: Path) -> tuple[dict[str, Any], str]:
    """A folder's lineage, and what isn't in it as it was written, if anything."""
    try:
        record = read_lineage(folder)
        text = (folder / NAME).read_text("utf-8")
    except UserError as error:
        if not (folder / NAME).is_file():
            raise
        return {}, str(error).removeprefix(f"{folder / NAME}")
    if not isinstance(record, dict) or not {"files", "hash", "parents"} <= record.keys():
        return {}, "not a record of a lineage"
    if _combine(record["files"]) != record["hash"]:
        return record, "its own hash doesn't match its file list"
    sealed = record.get("format") == 1 or record.get("seal") == _seal(record)
    if not sealed or text != json_text(record):
        return record, "not the bytes that were written"
    return record, ""


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
    """Sorted names of the files that a folder contains, at all levels."""
    if not as_path(folder).is_dir():
        raise UserError(f"{folder}: no such file or folder")
    names = map(Path, files_below(as_path(folder)))
    return sorted(name.as_posix() for name in names if not _ignored(name))


def hash_files(folder: Path, files: Iterable[str] | None = None) -> dict[str, str]:
    """The SHA-256 of each file that `list_files` names, or of `files`, by name."""
    names = list_files(folder) if files is None else list(files)
    return dict(zip(names, cached_hashes([folder / name for name in names]), strict=True))


def _ignored(name: Path) -> bool:
    """The folder's own lineage, hidden files, TensorBoard's copy of the metrics and what SQLite
    keeps beside a database that is being read prove nothing."""
    hidden = any(part.startswith(".") for part in name.parts)
    beside = name.name.endswith((".sqlite-wal", ".sqlite-shm"))
    return hidden or beside or name == Path(NAME) or name.name.startswith("events.out.tfevents")


def _combine(files: Mapping[str, str]) -> str:
    # In the form of `sha256sum`'s output, sorted by name, so that the hash can be made without
    # vcjax.
    return hash_text("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())))


def _seal(record: Mapping[str, Any]) -> str:
    """Hash of everything in a lineage, so that a changed byte in it is found too."""
    return hash_text(json_text({name: value for name, value in record.items() if name != "seal"}))
