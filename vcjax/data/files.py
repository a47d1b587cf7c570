"""Names of data files -> files: folders, globs, compression and whatever `fsspec` can open."""

import bz2
import glob
import gzip
import io
import lzma
import os
import re
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from vcjax.core.errors import UserError, one_line, suggest
from vcjax.core.files import hash_stream
from vcjax.core.lineage import Parent
from vcjax.core.run import CONFIG
from vcjax.data.tfds_source import PREFIX, opened, size_of_split

TEXT = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".warc", ".wet")
FORMATS = (*TEXT, ".parquet", ".arrow")
TFDS = "tfds"
"""The format of a `tfds:NAME[@SPLIT]`, which is no file."""
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
Names = str | os.PathLike | Sequence[str | os.PathLike]

# What `datasets` writes beside the shards of a dataset.
_METADATA = ("dataset_info.json", "state.json")
_SPLITS = "dataset_dict.json"
_PREPARED = ("summary.json", "dataset_info.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class DataFile:
    """One file to read.

    Attributes:
      name: as it is shown; a local path or a URL.
      format: one of FORMATS, or TFDS.
      compression: one of COMPRESSIONS, or ''.
      start, stop: bytes of the part that is read, which begins and ends with lines; a `stop` of 0
        is the end of the file.
      lines: that are over before the part.
    """

    name: str
    format: str
    compression: str
    start: int = 0
    stop: int = 0
    lines: int = 0

    @cached_property  # asked for each record
    def stem(self) -> str:
        """The file's name without its endings."""
        name = self.name
        if self.format == TFDS:
            name = name.removeprefix(PREFIX).partition("@")[0].partition(":")[0]
            # A folder ends with the version.
            name = name.rstrip("/").rpartition("/")[0] if Path(name).is_dir() else name
        return PurePosixPath(name).name.split(".")[0]

    def open(self) -> io.BufferedReader:
        """Opens the decompressed bytes; what is opened can be peeked into.

        Raises:
          UserError: it can't be opened.
        """
        raw: Any = open_bytes(self.name)
        if self.start or self.stop:
            # Of the stored bytes: only files that aren't compressed are cut into parts.
            raw = _Part(raw, self.start, self.stop)
        opened = _DECOMPRESS[self.compression](raw) if self.compression else raw
        return opened if hasattr(opened, "peek") else io.BufferedReader(opened, 1 << 20)


class _Part(io.RawIOBase):
    """The bytes from `start` to `stop` of a stream, or to its end where `stop` is 0."""

    def __init__(self, stream: BinaryIO, start: int, stop: int) -> None:
        self._stream = stream
        self._left = stop - start if stop else sys.maxsize
        stream.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._stream.read(min(len(buffer), self._left))
        buffer[: len(found)] = found
        self._left -= len(found)
        return len(found)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _zstd(raw: BinaryIO) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd")


_DECOMPRESS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw, mode="rb"),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstd,
}

# What reading a damaged compressed file raises, by any of the libraries.
BROKEN = (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, OSError)


def split_paths(paths: Names) -> list[str]:
    """Splits a comma-separated string, as a flag gives it, or takes a list of names.

    Raises:
      UserError: no file is named.
    """
    if isinstance(paths, str):
        paths = [part.strip() for part in paths.split(",") if part.strip()]
    elif isinstance(paths, os.PathLike):
        paths = [paths]
    if not paths:
        raise UserError("no data file is named")
    return [os.fspath(path) for path in paths]


def find_files(paths: Names) -> list[DataFile]:
    """The files that names refer to; a folder's and a glob's in the order of their names.

    Args:
      paths: as for `split_paths`; each a file, a folder (all data files below it), a glob, or a
        `tfds:NAME[@SPLIT]`. A dataset of the Hugging Face hub is `hf://datasets/OWNER/NAME`.

    Raises:
      UserError: a name that nothing is found under, or a format that isn't known.
    """
    return [found for path in split_paths(paths) for found in _find(path)]


def is_prepared(path: str) -> bool:
    """Whether a name is that of a prepared dataset (see `vcjax.data.prepared`)."""
    return all((Path(path) / name).is_file() for name in _PREPARED)


def data_parents(role: str, paths: Names) -> list[Parent]:
    """What was read, for the lineage: each file by its hash, each local folder as a whole."""
    parents = []
    for path in split_paths(paths):
        if not _is_remote(path) and Path(path).is_dir():
            parents.append(Parent.of(role, path))
            continue
        for file in _find(path):
            if file.format == TFDS:
                builder, _ = opened(file.name)
                parents.append(Parent.of(role, str(builder.data_path), file.name))
            elif _is_remote(file.name):
                with open_bytes(file.name) as stream:
                    parents.append(Parent(role, file.name, hash_stream(stream)))
            else:
                parents.append(Parent.of(role, file.name))
    return parents


def open_bytes(name: str) -> BinaryIO:
    """Opens a local path or a URL as it is stored, through `fsspec`.

    Raises:
      UserError: it isn't there, may not be read, or is of a store that isn't installed.
    """
    system, path = _system(name)
    try:
        return cast(BinaryIO, system.open(path, "rb"))
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{name}: is a folder") from None
    except OSError as error:
        raise UserError(f"{name}: can't be opened ({one_line(error)})") from None


def size_of(name: str) -> int | None:
    """Bytes of a local path or a URL, as it is stored; None where its server doesn't say."""
    if name.startswith(PREFIX):
        return size_of_split(name)
    system, path = _system(name)
    size = system.size(path)
    return None if size is None else int(size)


def _find(path: str) -> list[DataFile]:
    if path.startswith(PREFIX):
        opened(path)
        return [DataFile(path, TFDS, "")]
    if _is_remote(path):
        return _find_remote(path)
    local = Path(path)
    if local.is_file():
        return [_data_file(path)]
    if local.is_dir():
        if (local / CONFIG).is_file() and not is_prepared(path):
            raise UserError(
                f"{path}: not data but a model, or the workdir of a run; a corpus can be read once "
                "`launch.prepare` has finished it: the same command goes on"
            )
        names = [str(each) for each in sorted(local.rglob("*")) if each.is_file()]
        return _in_folder(path, [name for name in names if not _hidden(name, path)])
    if glob.has_magic(path):
        found = Path(local.anchor or ".").glob(str(local.relative_to(local.anchor)))
        return _matched(path, [str(each) for each in sorted(found) if each.is_file()])
    of_hub = _HUB_NAME.fullmatch(path) and _known(path) is None
    hint = f"; a dataset of the Hugging Face hub is hf://datasets/{path}" if of_hub else ""
    raise UserError(f"{path}: no such file{hint}")


def _find_remote(path: str) -> list[DataFile]:
    system, inner = _system(path)
    try:
        if glob.has_magic(inner):
            found = sorted(system.glob(inner))
            return _matched(path, [system.unstrip_protocol(name) for name in found])
        if _known(inner) is None and system.isdir(inner):
            found = [system.unstrip_protocol(name) for name in sorted(system.find(inner))]
            return _in_folder(path, [name for name in found if not _hidden(name, path)])
    except OSError as error:
        raise UserError(f"{path}: can't be listed ({one_line(error)})") from None
    return [_data_file(path)]


def _in_folder(folder: str, names: list[str]) -> list[DataFile]:
    own = {PurePosixPath(name).name for name in names}
    if _SPLITS in own:
        raise UserError(f"{folder}: has several splits; name the folder of one of them")
    if (Path(folder) / "lineage.json").is_file():
        raise UserError(f"{folder}: is the folder of a run; name the data files in it")
    known = [name for name in names if _known(name) and PurePosixPath(name).name not in _METADATA]
    if not known:
        raise UserError(
            f"{folder}: is a folder without a data file (known: {', '.join(FORMATS)}), "
            "and no prepared dataset"
        )
    return [_data_file(name) for name in known]


def _matched(pattern: str, names: list[str]) -> list[DataFile]:
    if not names:
        raise UserError(f"{pattern}: no file matches")
    return [_data_file(name) for name in names]


def _hidden(name: str, folder: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(name[len(folder) :]).parts)


def _known(name: str) -> tuple[str, str] | None:
    """Format and compression by a name's endings."""
    name = PurePosixPath(name).name.lower()
    compression = next((ending for ending in COMPRESSIONS if name.endswith(ending)), "")
    form = PurePosixPath(name.removesuffix(compression)).suffix
    known = form in (TEXT if compression else FORMATS)
    return (form, compression) if known else None


def _data_file(name: str) -> DataFile:
    if (known := _known(name)) is None:
        suffix = PurePosixPath(name).suffix.lower()
        raise UserError(
            f"{name}: unknown format (known: {', '.join(FORMATS)}; text also "
            f"{', '.join(COMPRESSIONS)}){suggest(suffix, FORMATS)}"
        )
    return DataFile(name, *known)


def _is_remote(path: str) -> bool:
    return "://" in path


def _system(name: str) -> tuple[Any, str]:
    import fsspec

    if not _is_remote(name):
        return fsspec.filesystem("file"), name
    try:
        return fsspec.core.url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise UserError(f"{name}: this store can't be opened ({one_line(error)})") from None
