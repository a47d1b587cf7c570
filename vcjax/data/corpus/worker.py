"""What a process does with one shard: read it, take it through steps, or write its rows.

    read    a unit of files ------------- steps ---> DocumentShard, evidence of the passes
    refine  a shard, without what the passes took out --- steps ---> DocumentShard, evidence
    write   a shard, without what the passes took out --- steps ---> rows of each split

Each writes its counts last, as JSON: a shard that has them is finished, and is never done again.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.decisions import read_decisions
from vcjax.data.corpus.document import Document, from_record
from vcjax.data.corpus.rows import write_rows
from vcjax.data.corpus.shards import DocumentShard, ShardPath, Unit, read_documents
from vcjax.data.corpus.tally import Tally
from vcjax.data.files import DataFile
from vcjax.data.importers import Located, ReadCounts, Records
from vcjax.data.quarantine import Quarantine
from vcjax.text.tokenizer import load_tokenizer

PLAN, TOKENIZER = "plan.json", "tokenizer"
MEGABYTE = 10**6


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
        total.whole_files += counts.whole_files
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
        self._pipeline = config.pipeline()

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
        with DocumentShard(path, self._pipeline.rounds[round].passes) as shard:
            for document in self._refined(round, name, first, tally):
                shard.add(document, self._pipeline.observe(round, document))
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
                sample_by=config.sample_by,
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
        with DocumentShard(path, self._pipeline.rounds[0].passes) as shard:
            for each in located:
                document = from_record(each)
                records += 1
                size += len(document.text.encode())
                kept = self._pipeline.through(0, document, tally)
                if kept is not None:
                    shard.add(kept, self._pipeline.observe(0, kept))
                if full := size >= self._config.shard_mb * MEGABYTE:
                    break
        counts = {"documents": shard.count, "records": records, "full": full}
        write_json(path.counts, {**counts, "tally": tally.to_json()})

    # --- steps ------------------------------------------------------------------------------------

    def _refined(self, round: int, name: str, first: int, tally: Tally) -> Iterator[Document]:
        source = ShardPath(self._work / str(round - 1), name)
        decided = read_decisions(source.folder, first, _count(source))
        yield from self._pipeline.left(round, read_documents(source), first, decided, tally)


def _count(path: ShardPath) -> int:
    return read_json(path.counts)["documents"]
