"""Files that are whole or absent, their hashes and locks; folders that can be written to."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from vcjax.core.errors import UserError
from vcjax.core.stores import as_path, is_remote, upload, uploaded_folder

_LONGEST_NAME = 255
"""Bytes of a file's name, in the file systems that are in use."""


def cache_folder() -> Path:
    """`$VCJAX_CACHE`, else `vcjax` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vcjax"
    return Path(os.environ.get("VCJAX_CACHE", default))


@contextmanager
def replaced(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its name when the block ends well.

    A kill or an error at any moment leaves the old file, or none: never half of a new one. For a
    path in a store it is a file on this machine, which is uploaded then.
    """
    path = as_path(path)
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="vcjax-") as folder:
            yield Path(folder) / path.name
            upload(Path(folder), path.parent, [path.name])
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, not in the folder for temporary files: a rename is atomic within one file
    # system only, and across two it is a copy that a kill can cut short.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # `mkstemp` lets nobody else read it
        temporary.replace(path)
    except OSError as error:
        _name_file(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _name_file(error: OSError, path: Path) -> None:
    # That of a write, where the disk is full, names no file; opening one does.
    if error.errno is not None and error.filename is None:
        error.filename = str(path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(value: Any) -> str:
    """Indented JSON with a newline at its end: the text that `write_json` writes."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes indented UTF-8 JSON, whole or not at all."""
    write_text(path, json_text(value))


def write_jsonl(path: str | os.PathLike, records: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line, whole or not at all."""
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Reads JSON; a missing or malformed file is a UserError that names it."""
    try:
        return json.loads(as_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except json.JSONDecodeError as error:
        line, reason = json_error(error)
        raise UserError(f"{path}:{line}: not JSON ({reason})") from None


def json_error(error: json.JSONDecodeError) -> tuple[int, str]:
    """The line of an error and what is wrong there.

    A comma that nothing follows is the error itself, as Python reports from 3.13 on; older versions
    name the bracket after it, which may be lines below.
    """
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :]
    if before.endswith(",") and after[:1] in ("}", "]"):
        what = "object" if after[0] == "}" else "array"
        return before.count("\n") + 1, f"Illegal trailing comma before end of {what}"
    return error.lineno, error.msg


def read_jsonl(path: str | os.PathLike) -> Iterator[tuple[int, Any]]:
    """Yields (line number, value) for each non-blank line; a bad line is a UserError."""
    path = as_path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except UnicodeDecodeError as error:
                raise UserError(f"{path}:{number}: not UTF-8 ({error.reason})") from None
            except json.JSONDecodeError as error:
                raise UserError(f"{path}:{number}: not JSON ({json_error(error)[1]})") from None


def hash_text(text: str) -> str:
    """SHA-256 of UTF-8 text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with as_path(path).open("rb") as stream:
        return hash_stream(stream)


def hash_stream(stream: BinaryIO) -> str:
    """SHA-256 of the bytes that are left in a stream, in hex."""
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def replaced_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary folder beside `path` that takes its name when the block ends well.

    An existing folder is replaced only then. What a killed run left behind is removed first. A
    folder in a store is uploaded then; see `uploaded_folder`.
    """
    path = as_path(path)
    if is_remote(path):
        with uploaded_folder(path) as folder:
            yield folder
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        # A folder can't be renamed onto one that isn't empty. A kill between the two renames leaves
        # the old one under its hidden name, and the new one, whole, under its temporary name.
        if path.exists():
            old = path.with_name(f".{path.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
            temporary.replace(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    except OSError as error:
        _name_file(error, path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def lock_file(path: Path, message: str) -> IO[str]:
    """Makes the file and locks it (flock) until the returned stream is closed or its process ends.

    The file stays: removing it would let two processes each lock one of the same name.

    Raises:
      UserError: another process has locked it; with this `message`.
    """
    stream = path.open("w")
    try:
        # The kernel releases it when the process ends, however it does; a file with a process's
        # number would outlive a kill, and the number might be another process's by then.
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise UserError(message) from None
    return stream


def check_writable(folder: Path) -> None:
    """Raises a UserError where nothing can be written to `folder`, which need not exist yet."""
    if is_remote(folder):
        return  # its store reports it when it is written to
    existing = check_folder_path(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: {existing} can't be written to")


def check_folder_path(folder: Path) -> Path:
    """The nearest existing folder at or above `folder`.

    Raises:
      UserError: there can be no folder of this path.
    """
    if is_remote(folder):
        return folder
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in folder.parts):
        raise UserError(f"{folder}: a name in it is longer than {_LONGEST_NAME} bytes")
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        what = "is a file; a workdir is a folder" if existing == folder else f"{existing} is a file"
        raise UserError(f"{folder}: {what}")
    return existing
