"""Prepared datasets: rows on disk as TFDS/ArrayRecord, with their summary and card."""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_json, write_json, write_text
from vcjax.data.card import dataset_card
from vcjax.data.curation import Deduplicated, SetAside
from vcjax.data.digests import SIZE
from vcjax.data.encode import ENCODERS, encode_all
from vcjax.data.importers import ReadCounts, Records, check_choice
from vcjax.data.packing import Packer, Row
from vcjax.data.pairs import PairRows
from vcjax.data.records import Record
from vcjax.data.rows import RowWriter, open_rows
from vcjax.data.samples import SampleWriter, sample_of
from vcjax.text.tokenizer import Tokenizer

PAIRED = "preferences"
DIGESTS = "digests.bin"
"""Digests of the records that the rows are made of, `vcjax.data.digests.SIZE` bytes each."""
SAMPLES = "samples.jsonl.zst"
"""Samples of the same records, in the same order; see `vcjax.data.samples`."""
NO_DOMAIN = "none"
"""What a summary counts records without a domain under."""


@dataclass(frozen=True)
class Prepared:
    """Random access to the rows of a prepared folder.

    Attributes:
      source: the rows, in the order in which they were made.
      summary: what `prepare` counted.
      folder: where `digests.bin` and `samples.jsonl.zst` are, by which records are found again;
        those of earlier versions lack one or both.
    """

    source: Sequence[Row]
    summary: Mapping[str, Any]
    folder: Path | None = None

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self.summary["length"]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Row:
        """Row `index`: `tokens, segment_ids, positions` int32 and `loss_mask` bool, `[length]`, or
        `[2, length]` for preferences."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return {name: np.asarray(value) for name, value in self.source[index].items()}


def prepare(
    folder: str | os.PathLike,
    records: Iterable[Record],
    kind: str,
    tokenizer: Tokenizer,
    length: int,
    *,
    quarantined: Sequence[Mapping[str, Any]] = (),
    on_bad_record: str = "error",
    held_out: Set[str] = frozenset(),
) -> dict[str, Any]:
    """Deduplicates and encodes records and writes them as rows into a folder, which appears whole
    or not at all. Documents and conversations are packed; each preference has a row of two.

    Args:
      folder: doesn't exist yet, or is empty.
      records: of `kind`, one of ENCODERS; streamed once. What `Records` sets aside is kept beside
        the rows, and what they count is in the summary.
      length: tokens of a row.
      quarantined: what was set aside before; kept beside the rows, too.
      on_bad_record: what to do with a record that the tokenizer or its chat template refuses.
      held_out: domains whose records are left out, and counted: they are for evaluation only.

    Returns:
      The summary, as it stands in `summary.json`.

    Raises:
      UserError: the folder is in use, another kind, a refused record, or no row to write.
    """
    check_choice("kind", kind, ENCODERS)
    check_choice("on_bad_record", on_bad_record, ("error", "quarantine"))
    # Of the two, each takes what the encoder of its kind gives.
    packer: Any = Packer(length, split_long=kind == "documents")
    if kind == PAIRED:
        packer = PairRows(length)
    kept_out: Counter[str] = Counter()
    by_turn = 0
    languages: Counter[str] = Counter()
    domains: Counter[str] = Counter()
    with _new_folder(Path(folder)) as temporary:
        with (
            RowWriter(temporary, packer.shape) as writer,
            SetAside(temporary / "quarantined.jsonl") as bad,
            (temporary / DIGESTS).open("wb") as digests,
            SampleWriter(temporary / SAMPLES) as samples,
        ):

            def keep(record: Record, digest: bytes) -> None:
                digests.write(digest[:SIZE])
                samples.add(sample_of(record))

            for each in quarantined:
                bad.add(each)
            if isinstance(records, Records):
                records.set_aside = bad.add
            unique = Deduplicated(_without(records, held_out, kept_out), keep)
            for record, examples in encode_all(kind, tokenizer, unique):
                if isinstance(examples, UserError):
                    if on_bad_record == "error":
                        raise UserError(f"record {record.id!r}: {examples}")
                    raw = json.dumps(record.to_dict(), ensure_ascii=False)
                    bad.add({"file": None, "line": None, "reason": str(examples), "raw": raw})
                    continue
                languages[cast(Any, record).lang] += 1
                domains[getattr(record, "domain", None) or NO_DOMAIN] += 1
                by_turn += len(examples) > 1
                for example in examples:
                    writer.write(packer.add(example))
            writer.write(packer.finish())
        counts = packer.counts
        if not counts.examples and bad.count:
            raise UserError(
                f"{folder}: nothing to write: all {bad.count} {kind} were set aside; "
                f"the first because: {bad.first}"
            )
        if not counts.examples and kept_out:
            raise UserError(
                f"{folder}: nothing to write: all {kept_out.total()} {kind} are of domains that "
                "the charter holds out"
            )
        if not counts.rows:
            what = "answers that differ" if kind == PAIRED else "a token to predict"
            raise UserError(
                f"{folder}: nothing to write: of {counts.examples} {kind} none has {what} within "
                f"length {length}; raise the length or check the data"
            )
        read = records.counts if isinstance(records, Records) else ReadCounts()
        summary = {
            "kind": kind,
            "length": length,
            "duplicates": unique.duplicates,
            "quarantined": bad.count,
            "held_out": kept_out.total(),
            "by_turn": by_turn,
            **read.summary(),
            **asdict(counts),
            "languages": dict(sorted(languages.items())),
            "domains": dict(sorted(domains.items())),
            "tokenizer": hash_tokenizer(tokenizer),
        }
        write_json(temporary / "summary.json", summary)
        write_text(temporary / "README.md", dataset_card(Path(folder).name, summary))
    return summary


def open_prepared(folder: str | os.PathLike) -> Prepared:
    """Opens a folder that `prepare` wrote.

    Raises:
      UserError: the folder isn't a prepared dataset.
    """
    folder = Path(folder)
    if not (folder / "summary.json").is_file() or not (folder / "dataset_info.json").is_file():
        what = "not a prepared dataset" if folder.is_dir() else "no such folder"
        raise UserError(f"{folder}: {what}; make one with `python -m launch.prepare`")
    summary = read_json(folder / "summary.json")
    source = open_rows(folder)
    if not isinstance(summary, dict) or summary.get("rows") != len(source):
        raise UserError(f"{folder}: summary.json doesn't belong to the rows; prepare it again")
    return Prepared(source, summary, folder)


def hash_tokenizer(tokenizer: Tokenizer) -> str:
    """SHA-256 of what decides the ids: vocabulary, rules, special tokens and chat template."""
    parts = [
        tokenizer.backend.backend_tokenizer.to_str(),
        tokenizer.bos_id,
        tokenizer.eos_id,
        tokenizer.adds_bos,
        tokenizer.chat_template,
        # Added later: what was prepared without them is as it was.
        *([tokenizer.template_options] if tokenizer.template_options else []),
        *([tokenizer.system] if tokenizer.system != "template" else []),
    ]
    return hash_text(json.dumps(parts, ensure_ascii=False))


def _without(
    records: Iterable[Record], held_out: Set[str], kept_out: Counter[str]
) -> Iterator[Record]:
    """The records of other domains; those left out are counted by domain in `kept_out`."""
    for record in records:
        domain = getattr(record, "domain", None) or NO_DOMAIN
        if domain in held_out:
            kept_out[domain] += 1
        else:
            yield record


@contextmanager
def _new_folder(folder: Path):
    """Yields a temporary folder beside `folder` that takes its name when the block ends well."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty; name another folder or remove this one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # is gone where all went well
