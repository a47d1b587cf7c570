"""Records -> a prepared dataset, in one process: through steps, encoded, packed, and counted.

Records --- Pipeline.through_all ------ encode_all --- Packer or PairRows
   |            (vcjax.data.corpus)         |                    |
quarantined.jsonl               digests.bin, samples.jsonl.zst   ArrayRecord shards
   +------------------------- summary.json, README.md -------------------------+

What a training run does with raw files. `launch.prepare` takes a corpus of any size through the
same steps, in many processes (`vcjax.data.corpus.run`).
"""

import json
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from vcjax.core.errors import UserError
from vcjax.core.files import write_json, write_text
from vcjax.core.markdown import markdown_templates
from vcjax.core.progress import Progress
from vcjax.core.settings import check_choice
from vcjax.data.corpus.config import RawFiles, StepsConfig
from vcjax.data.corpus.document import Document, Removal, from_record, to_record
from vcjax.data.corpus.held_out import HeldOut, held_out_by_content
from vcjax.data.corpus.pipeline import ENCODE, Pipeline
from vcjax.data.corpus.tally import Tally
from vcjax.data.digests import fingerprint
from vcjax.data.encode import ENCODERS, encode_all
from vcjax.data.importers import Located, ReadCounts, Records
from vcjax.data.overlap import TraceWriter
from vcjax.data.packing import PackingCounts, packer_of
from vcjax.data.prepared import NO_DOMAIN, PAIRED, RowWriter, hash_tokenizer
from vcjax.data.quarantine import Quarantine
from vcjax.data.records import Record
from vcjax.text.tokenizer import Tokenizer

_WORK = ".work"
"""The folder where documents wait for passes to decide; it is gone at the end."""


def prepare(
    folder: str | os.PathLike,
    records: Iterable[Record],
    kind: str,
    tokenizer: Tokenizer,
    length: int,
    *,
    quarantined: Sequence[Mapping[str, Any]] = (),
    on_bad_record: str = "error",
    config: StepsConfig | None = None,
    charter: str = "",
) -> dict[str, Any]:
    """Takes records through steps, encodes them and writes them as rows into a folder, which
    appears whole or not at all. Documents and conversations are packed; each preference has a row
    of two.

    Args:
      folder: doesn't exist yet, or is empty.
      records: of `kind`, one of ENCODERS; streamed once. What `Records` sets aside is kept beside
        the rows, and what they count is in the summary.
      length: tokens of a row.
      quarantined: what was set aside before; kept beside the rows, too.
      on_bad_record: what to do with a record that the tokenizer or its chat template refuses.
      config: the steps; by default those of `RawFiles`.
      charter: of the steps that need one.

    Returns:
      The summary that is in `summary.json`.

    Raises:
      UserError: the folder is in use, another kind, a refused record, or no row to write.
    """
    check_choice("kind", kind, ENCODERS)
    check_choice("on_bad_record", on_bad_record, ("error", "quarantine"))
    config = config or RawFiles()
    pipeline = Pipeline(config.steps_for(charter), kind, config.longest)
    tally = Tally(config.samples)
    # Each of the two accepts what the encoder of its kind returns.
    packer: Any = packer_of(kind, length)
    by_turn = 0
    languages: Counter[str] = Counter()
    domains: Counter[str] = Counter()
    waiting: deque[Document] = deque()  # that are being encoded
    with _new_folder(Path(folder)) as temporary:
        with (
            RowWriter(temporary, packer.shape) as writer,
            Quarantine(temporary / "quarantined.jsonl") as bad,
            TraceWriter(temporary) as traces,
            Progress(desc=f"prepares {kind}", total=None, unit="encoded") as bar,
        ):

            def kept() -> Iterator[Record]:
                documents = map(from_record, _located(records))
                for document in pipeline.through_all(documents, temporary / _WORK, tally):
                    record = to_record(document, kind)
                    waiting.append(document)
                    # Whether or not it can be encoded: what is set aside there is still known to be
                    # in the data.
                    traces.add(record, fingerprint(record))
                    yield record

            for each in quarantined:
                bad.add(each)
            if isinstance(records, Records):
                records.set_aside = bad.add
            for record, examples in encode_all(kind, tokenizer, kept()):
                bar.update()
                document = waiting.popleft()
                tally.step(ENCODE).got(document)
                if isinstance(examples, UserError):
                    if on_bad_record == "error":
                        raise UserError(f"record {record.id!r}: {examples}")
                    tally.remove(Removal(ENCODE, str(examples), document))
                    raw = json.dumps(record.to_dict(), ensure_ascii=False)
                    file, line = document.file or None, document.line or None
                    bad.add({"file": file, "line": line, "reason": str(examples), "raw": raw})
                    continue
                known = document.lang != "und"
                languages[document.lang if known else cast(Any, record).lang] += 1
                domains[document.domain or NO_DOMAIN] += 1
                by_turn += len(examples) > 1
                for example in examples:
                    writer.write(packer.add(example))
            writer.write(packer.finish())
        shutil.rmtree(temporary / _WORK, ignore_errors=True)
        counts = packer.counts
        if not counts.rows:
            why = _why_empty(kind, length, counts, bad, tally)
            raise UserError(f"{folder}: nothing to write: {why}")
        read = records.counts if isinstance(records, Records) else ReadCounts()
        summary = {
            "kind": kind,
            "length": length,
            "duplicates": _removed(tally, "duplicates"),
            "quarantined": bad.count,
            "held_out": _removed(tally, HeldOut.name),
            "held_out_by_content": held_out_by_content(tally),
            "by_turn": by_turn,
            **read.summary(),
            **asdict(counts),
            "languages": dict(sorted(languages.items())),
            "domains": dict(sorted(domains.items())),
            "steps": {name: step.summary() for name, step in tally.steps.items()},
            "tokenizer": hash_tokenizer(tokenizer),
        }
        write_json(temporary / "summary.json", summary)
        write_text(temporary / "README.md", dataset_card(Path(folder).name, summary))
    return summary


def _located(records: Iterable[Record]) -> Iterator[Located]:
    if isinstance(records, Records):
        return records.located()
    # Those that are in memory were read by somebody, who has settled their language.
    return (Located("", 0, record, True) for record in records)


def _removed(tally: Tally, name: str) -> int:
    return tally.steps[name].removed.total() if name in tally.steps else 0


def _why_empty(kind: str, length: int, counts: PackingCounts, bad: Quarantine, tally: Tally) -> str:
    if not counts.examples and bad.count:
        return f"all {bad.count} {kind} were set aside; the first because: {bad.first}"
    removed = {name: _removed(tally, name) for name in tally.steps if _removed(tally, name)}
    if not counts.examples and removed.keys() == {HeldOut.name}:
        return f"all {removed[HeldOut.name]} {kind} are of domains that the charter holds out"
    if not counts.examples and removed:
        named = ", ".join(f"{name} removed {count}" for name, count in removed.items())
        return f"no step left any of the {kind}: {named}"
    what = "answers that differ" if kind == PAIRED else "a token to predict"
    return (
        f"of {counts.examples} {kind} none has {what} within length {length}; raise the length or "
        "check the data"
    )


def dataset_card(name: str, summary: Mapping[str, Any]) -> str:
    """The card of a prepared dataset, in Markdown, for a person who finds the folder.

    Args:
      summary: of `prepare`; the card has nothing from elsewhere.
    """
    environment = markdown_templates("vcjax.data")
    return environment.get_template("card.md.jinja").render(name=name, **summary)


def omissions(summary: Mapping[str, Any], held_out: bool = False, *, cut: bool = True) -> list[str]:
    """One line for each kind of data that is not in the rows, for the screen.

    Args:
      summary: of a prepared dataset; those of earlier versions lack some counts.
      held_out: whether domains are held out; a record without one can't be.
      cut: whether to say how many records' ends are cut off.
    """
    kind, examples = summary["kind"], summary["examples"]
    long = summary["truncated"]
    lines = [
        f"{long} of {examples} {kind} ({long / max(1, examples):.0%}) are longer than a row of "
        f"{summary['length']} tokens: their end is cut off; raise the length"
    ] * bool(long and cut)
    for field, what in (
        ("dropped", "dropped: nothing to learn is left of them in a row"),
        ("quarantined", "set aside as bad records: see quarantined.jsonl"),
        ("broken_files", "files are broken or without a record: see quarantined.jsonl"),
        ("duplicates", "left out as duplicates"),
        ("held_out", "left out: the charter holds their domains out"),
        ("unpaired", "labelled answers left out: no answer to their prompt has the other label"),
    ):
        if count := summary.get(field, 0):
            lines.append(f"{count} {what}")
    if whole := summary.get("whole_files", 0):
        lines.append(
            f"{whole} text files with blank lines were read as one document each (sample_by)"
        )
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
