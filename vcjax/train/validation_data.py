"""Validation data in groups, one for each language and domain, each measured apart.

Packed rows mix records, so records are told apart before they are packed: every group of raw
records is prepared as a dataset of its own. A folder that was prepared beforehand is one group.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.data.importers import Loaded, read_records, split_paths
from vcjax.data.packing import Row
from vcjax.data.prepared import Prepared, open_prepared, prepare
from vcjax.data.records import Record
from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json, replaced_folder, write_json, write_jsonl
from vcjax.foundation.lineage import Parent
from vcjax.parallel import leads, meet
from vcjax.text.tokenizer import Tokenizer
from vcjax.train.config import TrainConfig
from vcjax.train.sources import DATA, check_prepared, held_out_domains

FIELD = "validation.data"
FOLDER = "validation"
INDEX = "groups.json"


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
    raw: Loaded | None = None
    parents: tuple[Parent, ...] = ()


def check_groups(config: TrainConfig, tokenizer: Tokenizer, workdir: Path) -> GroupSource:
    """Opens prepared folders and reads raw files; writes nothing.

    Records of the domains that the charter holds out are left out, as they are in training:
    what is measured here decides when a run stops and which checkpoint is kept.

    Raises:
      UserError: as for `vcjax.train.sources.check_sources`; two groups of one name, or no record.
    """
    paths = split_paths(config.validation.data)
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    opened = {path: check_prepared(path, FIELD, config.kind, config, tokenizer) for path in folders}
    ready = [_prepared_group(path, rows) for path, rows in opened.items()]
    raw, done = None, workdir / DATA / FOLDER
    if files and done.is_dir():
        ready += _read_groups(done)
    elif files:
        loaded = read_records(files, config.kind, on_bad_record=config.on_bad_record)
        held_out = held_out_domains(config)
        kept = [record for record in loaded.records if _key(record)[1] not in held_out]
        if not kept:
            raise UserError(
                f"config.{FIELD}: charter {config.charter!r} holds out the domains of all "
                f"{len(loaded.records)} {config.kind}"
            )
        raw = Loaded(kept, loaded.quarantined)
    names = [group.name for group in ready]
    names += sorted({_name(*_key(record)) for record in raw.records} if raw else ())
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"config.{FIELD}: two groups are called {name!r}; rename a folder")
    parents = tuple(Parent.of(FIELD, path) for path in (*folders, *files))
    return GroupSource(tuple(ready), raw, parents)


def prepare_groups(
    source: GroupSource, config: TrainConfig, tokenizer: Tokenizer, workdir: Path
) -> list[Group]:
    """All groups; those of raw records are prepared once, into `workdir/data/validation`.

    Of each at most `config.validation.batches` batches of rows are kept, evenly spread over all.
    """
    groups, folder = list(source.ready), workdir / DATA / FOLDER
    if source.raw is not None:
        if leads():
            _write_groups(folder, source.raw, config, tokenizer)
        meet("validation prepared")
        groups += _read_groups(folder)
    most = config.validation.batches * config.batch_size
    return [replace(group, rows=spread(group.rows, most)) for group in groups]


def spread(rows: Prepared, most: int) -> Prepared:
    """At most so many of the rows, evenly spread, in their order."""
    return replace(rows, source=_Spread(rows.source, min(len(rows), most)))


def datasets(groups: Sequence[Group]) -> dict[str, Prepared]:
    """The rows of each group under a name that can be a file's, for `with_reference`."""
    return {f"validation-{number:03}": group.rows for number, group in enumerate(groups)}


def with_datasets(groups: Sequence[Group], changed: Mapping[str, Prepared]) -> list[Group]:
    """The groups with what their `datasets` have become."""
    names = zip(datasets(groups), groups, strict=True)
    return [replace(group, rows=changed[name]) for name, group in names]


@dataclass(frozen=True)
class _Spread(Sequence[Row]):
    rows: Sequence[Row]
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
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


def _key(record: Any) -> tuple[str, str | None]:
    """Language and domain; every kind of record that is trained on has both."""
    return record.lang, record.domain


def _name(lang: str, domain: str | None) -> str:
    return lang if domain is None else f"{lang}/{domain}"


def _write_groups(folder: Path, raw: Loaded, config: TrainConfig, tokenizer: Tokenizer) -> None:
    groups: dict[tuple[str, str | None], list[Record]] = defaultdict(list)
    for record in raw.records:
        groups[_key(record)].append(record)
    index: list[dict[str, Any]] = []
    with replaced_folder(folder) as temporary:
        for number, key in enumerate(sorted(groups, key=lambda key: _name(*key))):
            name, part = _name(*key), temporary / f"{number:03}"
            try:
                prepare(
                    part,
                    groups[key],
                    config.kind,
                    tokenizer,
                    config.length,
                    on_bad_record=config.on_bad_record,
                )
            except UserError as error:
                reason = str(error).removeprefix(f"{part}: ")
                raise UserError(f"config.{FIELD}: group {name!r}: {reason}") from None
            index.append({"name": name, "lang": key[0], "domain": key[1], "folder": part.name})
        write_json(temporary / INDEX, index)
        if raw.quarantined:
            write_jsonl(temporary / "quarantined.jsonl", raw.quarantined)


def _read_groups(folder: Path) -> list[Group]:
    return [
        Group(each["name"], each["lang"], each["domain"], open_prepared(folder / each["folder"]))
        for each in read_json(folder / INDEX)
    ]
