"""Records -> a prepared dataset: deduplicated, encoded, packed into rows, and counted.

Records --- HeldOut.without --- Deduplicated --- encode_all --- Packer or PairRows
   |                                          |                                |
quarantined.jsonl                   digests.bin, samples.jsonl.zst     ArrayRecord shards
   +------------------------- summary.json, README.md -------------------------+
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TextIO, cast

from vcjax.core.errors import UserError
from vcjax.core.files import write_json, write_text
from vcjax.core.markdown import markdown_templates
from vcjax.core.progress import Progress
from vcjax.core.settings import check_choice
from vcjax.data.digests import Deduplicated
from vcjax.data.encode import ENCODERS, encode_all
from vcjax.data.held_out import HeldOut
from vcjax.data.importers import ReadCounts, Records
from vcjax.data.overlap import TraceWriter
from vcjax.data.packing import PackingCounts, packer_of
from vcjax.data.prepared import NO_DOMAIN, PAIRED, RowWriter, hash_tokenizer
from vcjax.data.records import Record
from vcjax.text.tokenizer import Tokenizer


def prepare(
    folder: str | os.PathLike,
    records: Iterable[Record],
    kind: str,
    tokenizer: Tokenizer,
    length: int,
    *,
    quarantined: Sequence[Mapping[str, Any]] = (),
    on_bad_record: str = "error",
    held_out: HeldOut | None = None,
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
      held_out: leaves out, and counts, what is for evaluation only.

    Returns:
      The summary that is in `summary.json`.

    Raises:
      UserError: the folder is in use, another kind, a refused record, or no row to write.
    """
    check_choice("kind", kind, ENCODERS)
    check_choice("on_bad_record", on_bad_record, ("error", "quarantine"))
    # Each of the two accepts what the encoder of its kind returns.
    packer: Any = packer_of(kind, length)
    by_turn = 0
    languages: Counter[str] = Counter()
    domains: Counter[str] = Counter()
    with _new_folder(Path(folder)) as temporary:
        with (
            RowWriter(temporary, packer.shape) as writer,
            Quarantine(temporary / "quarantined.jsonl") as bad,
            TraceWriter(temporary) as traces,
            Progress(desc=f"prepares {kind}", total=None, unit="encoded") as bar,
        ):
            for each in quarantined:
                bad.add(each)
            if isinstance(records, Records):
                records.set_aside = bad.add
            # Traces are of what is left after deduplication, in its order, whether or not it can
            # be encoded: what is set aside there is still known to be in the data.
            trained = records if held_out is None else held_out.without(records)
            unique = Deduplicated(trained, traces.add)
            for record, examples in encode_all(kind, tokenizer, unique):
                bar.update()
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
        by_content = held_out.by_content if held_out else Counter[str]()
        kept_out = by_content.total() + (held_out.by_domain.total() if held_out else 0)
        if not counts.rows:
            why = _why_empty(kind, length, counts, bad, kept_out)
            raise UserError(f"{folder}: nothing to write: {why}")
        read = records.counts if isinstance(records, Records) else ReadCounts()
        summary = {
            "kind": kind,
            "length": length,
            "duplicates": unique.duplicates,
            "quarantined": bad.count,
            "held_out": kept_out,
            "held_out_by_content": dict(sorted(by_content.items())),
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


def _why_empty(
    kind: str, length: int, counts: PackingCounts, bad: "Quarantine", kept_out: int
) -> str:
    if not counts.examples and bad.count:
        return f"all {bad.count} {kind} were set aside; the first because: {bad.first}"
    if not counts.examples and kept_out:
        return f"all {kept_out} {kind} are of domains that the charter holds out"
    what = "answers that differ" if kind == PAIRED else "a token to predict"
    return (
        f"of {counts.examples} {kind} none has {what} within length {length}; raise the length or "
        "check the data"
    )


class Quarantine:
    """Writes bad records into a file, which is made with the first of them.

    Attributes:
      count: how many it has written.
      first: the reason of the first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: TextIO | None = None
        self.count = 0
        self.first = ""

    def add(self, bad: Mapping[str, Any]) -> None:
        """Writes `{file, line, reason, raw}`."""
        if self._stream is None:
            # Half of a surrogate pair may be what is wrong: it becomes the escape of JSON for it.
            self._stream = self._path.open("w", encoding="utf-8", errors="backslashreplace")
            self.first = bad["reason"]
        self._stream.write(json.dumps(bad, ensure_ascii=False) + "\n")
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._stream is not None:
            self._stream.close()


def dataset_card(name: str, summary: Mapping[str, Any]) -> str:
    """The card of a prepared dataset, in Markdown, for a person who finds the folder.

    Args:
      summary: of `prepare`; the card has nothing from elsewhere.
    """
    environment = markdown_templates("vcjax.data")
    return environment.get_template("card.md.jinja").render(name=name, **summary)


def omissions(summary: Mapping[str, Any], held_out: bool = False) -> list[str]:
    """One line for each kind of data that is not in the rows, for the screen.

    Args:
      summary: of a prepared dataset; those of earlier versions lack some counts.
      held_out: whether domains are held out; a record without one can't be.
    """
    kind, examples = summary["kind"], summary["examples"]
    cut = summary["truncated"]
    lines = [
        f"{cut} of {examples} {kind} ({cut / max(1, examples):.0%}) are longer than a row of "
        f"{summary['length']} tokens: their end is cut off; raise the length"
    ] * bool(cut)
    for field, what in (
        ("dropped", "dropped: nothing to learn is left of them in a row"),
        ("quarantined", "set aside as bad records: see quarantined.jsonl"),
        ("duplicates", "left out as exact duplicates"),
        ("held_out", "left out: the charter holds their domains out"),
        ("unpaired", "labelled answers left out: no answer to their prompt has the other label"),
    ):
        if count := summary.get(field, 0):
            lines.append(f"{count} {what}")
    lines += [f"{n} rows left out: {why}" for why, n in summary.get("left_out", {}).items()]
    for what, count in summary.get("tool_turns", {}).items():
        lines.append(f"{count} tool turns {what.replace('_', ' ')} (config.tool_turns)")
    if unread := summary.get("columns_not_read", {}):
        named = ", ".join(f"{name} ({count} rows)" for name, count in unread.items())
        lines.append(f"columns not read: {named}")
    for domain, count in summary.get("held_out_by_content", {}).items():
        lines.append(f"{count} of them have no domain and are about {domain!r} by what they say")
    if held_out and (without := summary["domains"].get("none", 0)):
        checked = "held_out_by_content" in summary
        how = "only by what they say" if checked else "not at all (prepared by an earlier version)"
        lines.append(
            f"{without} of {examples} {kind} have no domain: the charter's held-out topics were "
            f"looked for in them {how} (config.require_domain=True makes that an error)"
        )
    return lines


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
        # Over an empty folder a rename succeeds, over any other it fails: nothing of the user's is
        # replaced.
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # is gone where all went well
