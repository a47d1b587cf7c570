"""Validation data in groups, one for each language and domain, each measured apart.

Packed rows mix records, so records are sorted before they are packed: every group of raw records
is prepared as a separate dataset. A folder that was prepared beforehand is one group.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl, replaced_folder, write_json
from vcjax.core.lineage import Parent
from vcjax.data.importers import Records
from vcjax.data.packing import Row
from vcjax.data.preparation import prepare
from vcjax.data.prepared import TRAIN, VALIDATION, Prepared, open_prepared
from vcjax.data.quarantine import Quarantine
from vcjax.data.records import KINDS, Record
from vcjax.parallel import barrier, on_main_process
from vcjax.text.tokenizer import Tokenizer
from vcjax.train.config import TrainConfig
from vcjax.train.data import (
    DATA,
    check_prepared,
    folders_and_files,
    held_out_by,
    raw_records,
    run_parents,
)

FIELD = "validation.data"
FOLDER = "validation"
INDEX = "groups.json"
BUFFERED = 1000
"""Records that are sorted into groups before they are written."""

_Key = tuple[str, str | None]  # language and domain


@dataclass(frozen=True)
class Group:
    """Rows that are measured together.

    Attributes:
      name: `<lang>/<domain>` or `<lang>`; a folder's own name if it was prepared beforehand.
      lang, domain: of all its records; None where they have none or differ.
      rows: those that are measured, the same each time.
    """

    name: str
    lang: str | None
    domain: str | None
    rows: Prepared


@dataclass(frozen=True)
class GroupSource:
    """`config.validation.data`, checked: groups that are ready, and records that aren't yet."""

    ready: tuple[Group, ...] = ()
    raw: Records | None = None
    parents: tuple[Parent, ...] = ()


def check_validation_data(config: TrainConfig, tokenizer: Tokenizer, workdir: Path) -> GroupSource:
    """Opens prepared folders and finds raw files; writes nothing.

    Of a folder that is trained on as well, the rows that `launch.prepare` split off are measured.

    Raises:
      UserError: as for `vcjax.train.data.check_sources`; two groups of one name.
    """
    folders, files = folders_and_files(config.validation.data)
    trained = {path.resolve() for path in folders_and_files(getattr(config, config.kind))[0]}
    opened = {}
    for path in folders:
        split = VALIDATION if path.resolve() in trained else TRAIN
        opened[path] = check_prepared(path, FIELD, config.kind, config, tokenizer, split)
    ready = [_prepared_group(path, rows) for path, rows in opened.items()]
    raw, done = None, workdir / DATA / FOLDER
    if files and done.is_dir():
        ready += _read_groups(done)
    elif files:
        raw = raw_records(files, config)
    _check_names([group.name for group in ready])
    return GroupSource(tuple(ready), raw, run_parents(FIELD, folders, files, raw))


def measured_records(raw: Records, config: TrainConfig) -> Iterator[Record]:
    """The records that are measured on, read anew.

    What the charter holds out is left out, as it is in training: what is measured here decides
    when a run stops and which checkpoint is kept.
    """
    held_out = held_out_by(config)
    return iter(raw) if held_out is None else held_out.without(raw)


def check_raw_groups(
    source: GroupSource, config: TrainConfig, visit: Callable[[Record], None]
) -> None:
    """Reads all raw records, and calls `visit` with each that is measured on.

    Raises:
      UserError: a bad record, two groups of one name, or no record.
    """
    if source.raw is None:
        return
    names = set()
    for record in measured_records(source.raw, config):
        names.add(_name(*_key(record)))
        visit(record)
    if not names:
        raise UserError(
            f"config.{FIELD}: charter {config.charter!r} holds out the domains of all "
            f"{source.raw.counts.records} {config.kind}"
        )
    _check_names([*(group.name for group in source.ready), *sorted(names)])


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"config.{FIELD}: two groups are called {name!r}; rename a folder")


def prepare_groups(
    source: GroupSource,
    config: TrainConfig,
    tokenizer: Tokenizer,
    workdir: Path,
    shared: Callable[[str], None] = barrier,
) -> list[Group]:
    """All groups; those of raw records are prepared once, into `workdir/data/validation`.

    Of each at most `config.validation.batches` batches of rows are kept, evenly spread over all.

    Args:
      shared: see `vcjax.train.data.prepare_sources`.
    """
    groups, folder = list(source.ready), workdir / DATA / FOLDER
    if source.raw is not None:
        on_main_process(partial(_write_groups, folder, source.raw, config, tokenizer))
        shared("validation prepared")
        groups += _read_groups(folder)
    most = config.validation.batches * config.batch_size
    return [replace(group, rows=spread(group.rows, most)) for group in groups]


def spread(rows: Prepared, most: int) -> Prepared:
    """At most `most` of the rows, evenly spread, in their order."""
    return replace(rows, source=_Spread(rows.source, min(len(rows), most)))


@dataclass(frozen=True)
class _Spread(Sequence[Row]):
    rows: Sequence[Row]
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        # `count` isn't above the number of rows, so that none comes twice.
        # The same rows at each measurement: drawn anew, the noise of the draw would be in every
        # difference.
        return self.rows[index * len(self.rows) // self.count]


def _prepared_group(path: Path, rows: Prepared) -> Group:
    def only(counts: dict[str, int]) -> str | None:
        return next(iter(counts)) if len(counts) == 1 else None

    domain = only(rows.summary["domains"])
    return Group(
        path.resolve().name,
        only(rows.summary["languages"]),
        None if domain == "none" else domain,
        rows,
    )


def _key(record: Any) -> _Key:
    """Language and domain; every kind of record that is trained on has both."""
    return record.lang, record.domain


def _name(lang: str, domain: str | None) -> str:
    return lang if domain is None else f"{lang}/{domain}"


def _write_groups(folder: Path, raw: Records, config: TrainConfig, tokenizer: Tokenizer) -> None:
    index: list[dict[str, Any]] = []
    with replaced_folder(folder) as temporary, Quarantine(temporary / "quarantined.jsonl") as bad:
        raw.set_aside = bad.add
        parts = _sort(measured_records(raw, config), temporary)
        for number, key in enumerate(sorted(parts, key=lambda key: _name(*key))):
            name, part = _name(*key), temporary / f"{number:03}"
            try:
                prepare(
                    part,
                    _sorted_records(parts[key], config.kind),
                    config.kind,
                    tokenizer,
                    config.length,
                    on_bad_record=config.on_bad_record,
                )
            except UserError as error:
                # `prepare` names the temporary folder, which no user knows.
                reason = str(error).removeprefix(f"{part}: ")
                raise UserError(f"config.{FIELD}: group {name!r}: {reason}") from None
            parts[key].unlink()
            index.append({"name": name, "lang": key[0], "domain": key[1], "folder": part.name})
        write_json(temporary / INDEX, index)


def _sort(records: Iterable[Record], folder: Path) -> dict[_Key, Path]:
    """Writes the records of each group into a separate file, so that none is kept in memory."""
    parts: dict[_Key, Path] = {}
    waiting: dict[_Key, list[str]] = defaultdict(list)

    # Files are opened for each flush: there may be more groups than a process may have open files.
    def flush() -> None:
        for key, lines in waiting.items():
            path = parts.setdefault(key, folder / f".group-{len(parts):03}.jsonl")
            with path.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)
        waiting.clear()

    for number, record in enumerate(records, start=1):
        line = json.dumps(record.to_dict(), ensure_ascii=False) + "\n"
        waiting[_key(record)].append(line)
        if number % BUFFERED == 0:
            flush()
    flush()
    return parts


def _sorted_records(path: Path, kind: str) -> Iterator[Record]:
    return (KINDS[kind].from_dict(value) for _, value in read_jsonl(path))


def _read_groups(folder: Path) -> list[Group]:
    return [
        Group(each["name"], each["lang"], each["domain"], open_prepared(folder / each["folder"]))
        for each in read_json(folder / INDEX)
    ]
