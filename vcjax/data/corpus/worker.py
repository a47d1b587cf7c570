"""What a process does with one shard: read it, take it through steps, or write its rows.

    read    a unit of files ------------- steps ---> DocumentShard, evidence of the passes
    refine  a shard, without what the passes took out --- steps ---> DocumentShard, evidence
    write   a shard, without what the passes took out --- steps ---> rows of each split

Each writes its counts last, as JSON: a shard that has them is finished, and is never done again.
"""

import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.document import RECORD, Document, Removal, parts, text_of, with_parts
from vcjax.data.corpus.rows import HASH, HASH_DIGITS, write_rows
from vcjax.data.corpus.shards import DocumentShard, ShardPath, Unit, read_documents
from vcjax.data.corpus.step import Decision, Pass, Step
from vcjax.data.corpus.tally import Tally
from vcjax.data.digests import fingerprint
from vcjax.data.files import DataFile
from vcjax.data.importers import Located, ReadCounts, Records
from vcjax.data.preparation import Quarantine
from vcjax.text.tokenizer import load_tokenizer

READ = "read"
"""What counts as a step in the summary, before the first one."""
PLAN, DECISIONS, TOKENIZER = "plan.json", "decisions.sqlite", "tokenizer"
MEGABYTE = 10**6


@dataclass(frozen=True)
class Round:
    """Steps that need no other document, and the passes that follow them."""

    steps: tuple[str, ...]
    passes: tuple[str, ...]


def rounds_of(steps: Iterable[Step | Pass]) -> list[Round]:
    """The rounds of a list of steps: at least two, of which the last has no passes."""
    rounds: list[Round] = []
    before: list[str] = []
    passes: list[str] = []
    for step in steps:
        if isinstance(step, Pass):
            passes.append(step.name)
            continue
        if passes:
            rounds.append(Round(tuple(before), tuple(passes)))
            before, passes = [], []
        before.append(step.name)
    rounds.append(Round(tuple(before), tuple(passes)))
    return [*rounds, Round((), ())] if passes or len(rounds) == 1 else rounds


@dataclass
class Reading:
    """What reading a unit counted, beside its records."""

    counts: ReadCounts = field(default_factory=ReadCounts)
    broken: int = 0  # files that ended before their end, or from which nothing is read
    records: int = 0

    def add(self, counts: ReadCounts) -> None:
        total = self.counts
        self.records += counts.records
        total.quarantined += counts.quarantined
        total.unpaired += counts.unpaired
        total.no_domain += counts.no_domain
        for name in ("left_out", "columns_not_read", "tool_turns"):
            getattr(total, name).update(getattr(counts, name))

    def summary(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "quarantined": self.counts.quarantined,
            "broken_files": self.broken,
            **self.counts.summary(),
        }


class Worker:
    """Does the work of one process."""

    def __init__(self, config: PrepareConfig, work: Path) -> None:
        """Args: `work` is the folder between the rounds, with a plan and the tokenizer."""
        self._config, self._work = config, work
        self._steps = {step.name: step for step in config.make_steps()}
        self._rounds = rounds_of(self._steps.values())

    # --- the three kinds of work -----------------------------------------------------------------

    def read(self, number: int) -> None:
        """Reads unit `number` into one or more shards; those that a killed run left are kept."""
        folder, reading = self._work / "0", Reading()
        done = ShardPath(folder, f"{number:05}")
        bad_path = done.temporary("quarantined")
        shards: list[str] = []
        with Quarantine(bad_path) as bad:
            located = self._located(self._unit(number), reading, bad)
            full = True
            while full:
                path = ShardPath(folder, f"{number:05}-{len(shards):05}")
                if path.counts.is_file():
                    # Read again, since how far it goes is known in records alone.
                    deque(islice(located, read_json(path.counts)["records"]), maxlen=0)
                else:
                    self._read_shard(path, located)
                full = read_json(path.counts)["full"]
                shards.append(path.name)
            deque(located, maxlen=0)  # what was skipped may be all but its end
        if bad.count:
            bad_path.replace(done.evidence("quarantined"))
        # The last file of the unit: where it is, nothing of the unit is read again.
        write_json(done.counts, {"shards": shards, "read": reading.summary()})

    def refine(self, round: int, name: str, first: int) -> None:
        """Takes shard `name` of the round before through the steps of `round`.

        Args:
          first: the number of the shard's first document.
        """
        path, tally = ShardPath(self._work / str(round), name), Tally(self._config.samples)
        with DocumentShard(path, self._rounds[round].passes) as shard:
            for document in self._refined(round, name, first, tally):
                shard.add(document, self._observe(round, document))
        write_json(path.counts, {"documents": shard.count, "tally": tally.to_json()})

    def write(self, round: int, name: str, first: int) -> None:
        """Takes a shard through the last round and writes its rows, into a folder."""
        home, tally = self._work / str(round), Tally(self._config.samples)
        with TemporaryDirectory(dir=home, prefix=f".{name}.") as temporary:
            folder = Path(temporary)
            documents = self._refined(round, name, first, tally)
            counts = write_rows(folder, documents, tally, self._config, self._tokenizer)
            write_json(folder / "counts.json", {**counts, "tally": tally.to_json()})
            if not (home / name).is_dir():  # a task of a killed run may have made it meanwhile
                folder.rename(home / name)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self._work / TOKENIZER)

    # --- reading ---------------------------------------------------------------------------------

    def _unit(self, number: int) -> Unit:
        return [DataFile(**fields) for fields in read_json(self._work / PLAN)["units"][number]]

    def _located(self, unit: Unit, reading: Reading, bad: Quarantine) -> Iterator[Located]:
        """The records of a unit; what can't be read of it is set aside, or is an error."""
        config = self._config
        for file in unit:
            records = Records(
                [file],
                config.kind,
                on_bad_record=config.on_bad_record,
                columns=config.columns,
                tool_turns=config.tool_turns,
                require_domain=config.require_domain,
            )
            records.set_aside = bad.add
            try:
                yield from records.located()
            except UserError as error:
                if config.on_bad_record == "error":
                    raise
                reading.broken += 1
                bad.add({"file": file.name, "line": None, "reason": str(error), "raw": ""})
            reading.add(records.counts)

    def _read_shard(self, path: ShardPath, located: Iterator[Located]) -> None:
        """Reads and refines documents until there are enough of them."""
        tally, size, records, full = Tally(self._config.samples), 0, 0, False
        with DocumentShard(path, self._rounds[0].passes) as shard:
            for each in located:
                document = self._document(each)
                records += 1
                size += len(document.text.encode())
                kept = self._through(0, document, tally)
                if kept is not None:
                    shard.add(kept, self._observe(0, kept))
                if full := size >= self._config.shard_mb * MEGABYTE:
                    break
        counts = {"documents": shard.count, "records": records, "full": full}
        write_json(path.counts, {**counts, "tally": tally.to_json()})

    def _document(self, located: Located) -> Document:
        record = cast(Any, located.record)
        # Of the text as it was read: whatever the steps make of it, its split stays the same.
        meta: dict[str, Any] = {HASH: fingerprint(record).hex()[:HASH_DIGITS]}
        if self._config.kind != "documents":
            meta[RECORD] = record.to_dict()
        return Document(
            text=text_of(record),
            id=record.id,
            source=record.source if hasattr(record, "source") else _stem(located.file),
            file=located.file,
            line=located.line,
            lang=record.lang if located.stated else "und",
            domain=record.domain,
            meta=meta,
        )

    # --- steps -----------------------------------------------------------------------------------

    def _refined(self, round: int, name: str, first: int, tally: Tally) -> Iterator[Document]:
        passes = self._rounds[round - 1].passes
        source = ShardPath(self._work / str(round - 1), name)
        decided = read_decisions(self._work / str(round - 1), first, _count(source))
        for number, document in enumerate(read_documents(source), start=first):
            step, decision = decided.get(number, ("", None))
            # As if the passes had run one after the other: a document that one of them took out was
            # never seen by those after it, so that the funnel's figures add up.
            for each in passes:
                tally.step(each).got(document)
                if each == step:
                    break
            if decision is not None:
                tally.remove(Removal(step, decision.reason, document, decision.detail))
            elif (kept := self._through(round, document, tally)) is not None:
                yield kept

    def _through(self, round: int, document: Document, tally: Tally) -> Document | None:
        if round == 0:
            tally.step(READ).got(document)
            if len(document.text) > self._config.longest:
                reason = f"longer than {self._config.longest:,} characters"
                detail = f"{len(document.text):,} characters"
                tally.remove(Removal(READ, reason, document, detail))
                return None
        for name in self._rounds[round].steps:
            counts = tally.step(name)
            counts.got(document)
            outcome = self._applied(cast(Step, self._steps[name]), document, counts.did)
            if isinstance(outcome, Removal):
                tally.remove(outcome)
                return None
            document = outcome
        return document

    def _applied(self, step: Step, document: Document, did: Counter[str]) -> Document | Removal:
        try:
            if not step.changes or self._config.kind == "documents":
                return step.apply(document, did)
            record = cast(dict[str, Any], document.meta[RECORD])
            changed = {}
            for part in dict.fromkeys(parts(record)):
                if not part.strip():
                    continue
                outcome = step.apply(replace(document, text=part), did)
                if isinstance(outcome, Removal):
                    return replace(outcome, document=document)
                changed[part] = outcome.text
        except Exception as error:
            where = f"{document.file}:{document.line}"
            raise RuntimeError(f"step {step.name} failed on {where}") from error
        record = with_parts(record, changed)
        meta = {**document.meta, RECORD: record}
        return replace(document, text="\n".join(parts(record)), meta=meta)

    def _observe(self, round: int, document: Document) -> dict[str, bytes]:
        passes = self._rounds[round].passes
        return {name: cast(Pass, self._steps[name]).observe(document) for name in passes}


@lru_cache
def _stem(file: str) -> str:
    return Path(file).name.split(".")[0]


# --- decisions of passes -------------------------------------------------------------------------


def read_decisions(folder: Path, first: int, count: int) -> dict[int, tuple[str, Decision]]:
    """By number, the decisions about `count` documents from `first` on, and whose they are."""
    path = folder / DECISIONS
    if not path.is_file():
        return {}
    query = "SELECT number, step, reason, detail FROM decisions WHERE number BETWEEN ? AND ?"
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        rows = database.execute(query, (first, first + count - 1)).fetchall()
    return {number: (step, Decision(number, *rest)) for number, step, *rest in rows}


def _count(path: ShardPath) -> int:
    return read_json(path.counts)["documents"]
