"""Paths on this machine and in a store: `gs://bucket/folder` and the like.

A path in a store is an `etils.epath.Path`, which is used as `pathlib.Path` is; what that doesn't
have (trees, ranges, copies) goes through `fsspec`. An object in a store is whole or absent, as it
is uploaded at once; a folder is only the names of its objects, so there is none that is empty, and
none is renamed at once.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from vcjax.core.errors import UserError

PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}
"""What `fsspec` needs for each kind of store."""
WITH_CHECKPOINTS = "gs"
"""The kind of store in which Orbax keeps checkpoints."""
PARTIAL = ".partial"
"""An object in a folder that is still being uploaded, or whose upload was stopped."""
SMALL = 5 * 2**20
"""Bytes; `gcsfs.put_file` uploads a smaller file in one multipart request."""
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is one in a store."""
    return _SCHEME.match(os.fspath(path)) is not None


def as_path(path: str | os.PathLike) -> Path:
    """A path on this machine or in a store.

    Raises:
      UserError: a kind of store that isn't known, or whose package isn't installed.
    """
    if (matched := _SCHEME.match(os.fspath(path))) is None:
        return Path(path)
    scheme = matched[1]
    if scheme not in PACKAGES:
        known = ", ".join(f"{one}://" for one in PACKAGES)
        raise UserError(f"{os.fspath(path)}: no such kind of store (known: {known})")
    if find_spec(PACKAGES[scheme]) is None:
        raise UserError(f"{os.fspath(path)}: needs the package {PACKAGES[scheme]}; install it")
    from etils import epath
    from fsspec.config import conf

    # What is remembered of a folder would hide what TensorStore writes into it.
    conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)
    return cast(Path, epath.Path(path))  # by what it can do, not by its class


def reached(path: str | os.PathLike) -> Path:
    """`as_path` of what a run reads or writes; the bucket of a path in a store is looked up.

    Raises:
      UserError: see `as_path`; or there is no such bucket, or it can't be read.
    """
    location = as_path(path)
    if is_remote(location):
        system, bucket = _system(as_path(_store(str(location))))
        try:
            # Not `exists`, which is silent on why it doesn't: of S3, that there are no credentials.
            system.info(bucket)
        except FileNotFoundError:
            reason = "no such bucket, or none that you may read"
            raise UserError(f"{location}: {reason}") from None
        except Exception as error:
            raise _unreadable(location, error) from None
    return location


def check_for_checkpoints(path: str | os.PathLike) -> None:
    """Raises a UserError for a path in a store that Orbax neither writes to nor reads from.

    Orbax has arrays written and read by TensorStore, past `fsspec`, and takes the address of any
    store but Google's for a relative path on a disk.
    """
    matched = _SCHEME.match(os.fspath(path))
    if matched and matched[1] in PACKAGES and matched[1] != WITH_CHECKPOINTS:
        raise UserError(
            f"{os.fspath(path)}: checkpoints are on a disk or in {WITH_CHECKPOINTS}:// alone: use "
            "a folder of this machine, from which launch.convert writes models to "
            f"{matched[1]}:// (hf, peft or gguf)"
        )


def on_disk(path: str | os.PathLike) -> Path:
    """A path on this machine, for what can't be in a store: a ledger, which SQLite keeps.

    Raises:
      UserError: it is one in a store.
    """
    if is_remote(path):
        raise UserError(
            f"{os.fspath(path)}: can't be in a store, as it needs a disk of this machine; only "
            "convert, train, evaluate and verify work on stores"
        )
    return Path(path)


def absolute(path: str | os.PathLike) -> Path:
    """The path, absolute and without links; a path in a store is that already."""
    return as_path(path) if is_remote(path) else Path(path).resolve()


def relative(path: str | os.PathLike, home: str | os.PathLike) -> str:
    """How a file in the folder `home` names a path so that both can be moved together.

    Between this machine and a store, or between stores, nothing can: the path itself.
    """
    path, home = str(absolute(path)), str(absolute(home))
    if _store(path) != _store(home):
        return path
    return os.path.relpath(path.removeprefix(_store(path)), home.removeprefix(_store(home)))


def rejoined(path: str, home: str | os.PathLike) -> str:
    """The path that `relative` has named `path`."""
    if is_remote(path) or Path(path).is_absolute():
        return path
    start = str(absolute(home))
    store = _store(start)
    return store + os.path.normpath(f"{start.removeprefix(store)}/{path}")


def short_name(reference: str) -> str:
    """How a title names a model: an absolute path by its last part, all else as it is."""
    return Path(reference).name if Path(reference).is_absolute() else reference


def files_below(folder: Path) -> list[str]:
    """Names, relative to `folder`, of all files below it; in no order."""
    if not is_remote(folder):
        files = (path for path in folder.rglob("*") if path.is_file())
        return [path.relative_to(folder).as_posix() for path in files]
    system, root = _system(folder)
    names = (name.removeprefix(root).lstrip("/") for name in system.find(root))
    # Web consoles make a folder by an empty object whose name ends with a slash.
    return [name for name in names if name and not name.endswith("/")]


def size_of(path: Path) -> int:
    """Bytes in a file."""
    return stamp(path)[0]


def stamp(path: Path) -> tuple[int, int, int]:
    """Size of a file, and two numbers that change with its bytes: its times in nanoseconds.

    Of an object in a store they are 0 and a hash of what the store reports of it: its generation or
    entity tag among others.
    """
    if not is_remote(path):
        status = path.stat()
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns
    system, name = _system(path)
    about = system.info(name)
    # What a store reports differs from one to another; any change of it is taken for one of the
    # bytes, at worst a file is hashed once more.
    known = repr(sorted((key, str(value)) for key, value in about.items()))
    return about["size"], 0, int(sha256(known.encode()).hexdigest()[:15], 16)


def is_there(path: Path) -> bool:
    """Whether there is a file or folder.

    Raises:
      UserError: its store can't be asked.
    """
    try:
        return path.exists()
    except Exception as error:
        raise _unreadable(path, error) from None


def read_range(path: Path, start: int, size: int) -> bytes:
    """Reads `size` bytes of a file in a store, from byte `start` on."""
    system, name = _system(path)
    return system.cat_file(name, start=start, end=start + size)


def download(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copies files from a folder in a store to a folder on this machine, by relative path."""
    system, root = _system(source)
    for name in names:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        system.get_file(f"{root}/{name}", str(copy))


def upload(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copies files from a folder on this machine to a folder in a store, by relative path."""
    system, root = _system(target)
    for name in names:
        if size_of(source / name) >= SMALL:
            system.put_file(str(source / name), f"{root}/{name}")
            continue
        # Not `put_file`: gcsfs sends the bytes as a part of a multipart request, with a boundary
        # that is the same for all files and line feeds alone. A file's last carriage return was
        # taken for a part of the delimiter: one binary file in 256 was stored without its last
        # byte. Here the bytes are the whole body of a request.
        content = (source / name).read_bytes()
        with system.open(f"{root}/{name}", "wb") as stream:
            stream.write(content)


def remove_tree(folder: Path) -> None:
    """Removes a folder with all that is below it; one that isn't there is no error."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    system, root = _system(folder)
    if system.find(root):
        system.rm(root, recursive=True)


@contextmanager
def uploaded_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder here that is uploaded when the block ends well.

    While the upload runs, and after it was stopped, the folder in the store has PARTIAL in it.
    What an earlier upload left is removed first.
    """
    with TemporaryDirectory(prefix="vcjax-") as name:
        here = Path(name)
        yield here
        # Only now, when everything that replaces it has been written here.
        remove_tree(path)
        (path / PARTIAL).write_text("being uploaded\n")
        upload(here, path, files_below(here))
        (path / PARTIAL).unlink()


@contextmanager
def local_files(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    """Yields a folder on this machine that has the files of `folder` whose names match.

    A folder on this machine is yielded as it is; files from a store are there until the block ends.
    """
    if not is_remote(folder):
        yield folder
        return
    wanted, names = list(patterns), files_below(folder)
    with TemporaryDirectory(prefix="vcjax-") as here:
        matching = (name for name in names if any(fnmatch(name, one) for one in wanted))
        download(folder, Path(here), [name for name in matching if "/" not in name])
        yield Path(here)


def _unreadable(path: Path, error: Exception) -> UserError:
    """The error in one line, whatever the client of a store raises: there is no common class."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(f"{path}: the store can't be read ({reason})")


def _store(path: str) -> str:
    """`gs://bucket`, or '' for this machine."""
    matched = re.match(r"[a-z][a-z0-9+.-]*://[^/]*", path)
    return matched[0] if matched else ""


def _system(path: Path) -> tuple[Any, str]:
    """The file system of a store, and the name in it of a path."""
    from fsspec.core import url_to_fs

    system, name = url_to_fs(str(path))
    return system, name.rstrip("/")
