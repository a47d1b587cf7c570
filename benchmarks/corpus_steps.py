r"""How fast each step of a corpus is by itself, in a process that does nothing else.

    read -> normalise -> ... -> duplicates          each gets what the one before left
      \-> encode                                    tokenises, packs and writes

What is timed is the step: documents are read from a shard before, and written to the next after.
Two include a disk: `read` goes from files to documents in a shard, from which the next round reads
them, and `encode` from documents in memory to rows in a file. Both are repeated, and the fastest
counts. What is loaded on first use isn't measured: each step has had a document before.

Rates are by CPU seconds, of all threads together: what a step does in a second of one core,
whatever else the machine does meanwhile.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.drawn_corpus import DrawnCorpus
from benchmarks.environment import in_subprocess
from benchmarks.serve import peak_resident
from vcjax.core.errors import UserError
from vcjax.core.files import write_json, write_text
from vcjax.data.corpus.config import PrepareConfig, split_steps
from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.language import Language
from vcjax.data.corpus.pipeline import ENCODE, READ
from vcjax.data.corpus.rows import write_rows
from vcjax.data.corpus.shards import DocumentShard, ShardPath, Stored, read_documents
from vcjax.data.corpus.step import Observed, Pass, Step
from vcjax.data.corpus.tally import Tally
from vcjax.data.corpus.worker import PLAN, TOKENIZER, Worker
from vcjax.data.files import find_files
from vcjax.text.tokenizer import load_tokenizer
from vcjax.weights.load import open_model

REPEATS = 3
_AT_ONCE = 256
_NEAR = 0.8
"""Similarity from which a planted near-duplicate is to be found."""
FIRST = "00000-00000"
"""The name that a Worker gives the first shard of the first unit."""


@dataclass
class Measured:
    """What one process measured of a step.

    Attributes:
      bytes: of the texts that it got.
      seconds, cpu_seconds: that it took.
      setup_seconds: until it could begin.
      removed: documents, by reason.
      taken: ids of the documents that a pass took out.
    """

    documents: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    setup_seconds: float = 0.0
    peak_bytes: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    taken: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        begun, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - begun
        self.cpu_seconds += time.process_time() - cpu

    def fastest(self, function: Callable[[int], object]) -> None:
        """Times several calls of a function with their number, and keeps the fastest's seconds."""
        runs = []
        for number in range(REPEATS):
            self.seconds = self.cpu_seconds = 0.0
            with self.timed():
                function(number)
            runs.append((self.cpu_seconds, self.seconds))
        self.cpu_seconds, self.seconds = min(runs)

    def got(self, document: Document) -> None:
        self.documents += 1
        self.bytes += len(document.text.encode())

    def summary(self) -> dict[str, Any]:
        rate = self.bytes / 1e6 / self.cpu_seconds if self.cpu_seconds else 0.0
        values = {name: value for name, value in vars(self).items() if name != "taken"}
        return {**values, "mb_per_cpu_second": rate}


def measure_steps(corpus: DrawnCorpus, config: PrepareConfig, folder: Path) -> dict[str, Any]:
    """Measures every step of a config, and leaves the shards between them in the folder.

    `encode` gets what `language` left, as its language is known there and nothing is decided yet.

    Returns:
      `steps`: a `Measured.summary` by name; `planted`: how many of the planted near-duplicates
      came to `duplicates`, and how many of them it took out.
    """
    shutil.rmtree(folder, ignore_errors=True)
    bare = replace(config, steps="", settings={}, shard_mb=10**6)
    read = in_subprocess(_read, bare, [str(file) for file in corpus.files], folder)
    found, source = {READ: read}, ShardPath(folder / "0", FIRST)
    ids: set[str] = set()
    for name in split_steps(config.steps):
        target = ShardPath(folder, name)
        if name == "duplicates":
            ids = {document.id for document in read_documents(source)}
        found[name] = in_subprocess(_step, name, config, source, target)
        source = target
    found[ENCODE] = in_subprocess(_encode, bare, ShardPath(folder, Language.name), folder)
    taken = {id for each in found.values() for id in each.taken}
    near = {id for id, similarity in corpus.planted.items() if similarity >= _NEAR and id in ids}
    return {
        "steps": {name: each.summary() for name, each in found.items()},
        "planted": {"similarity": _NEAR, "documents": len(near), "found": len(near & taken)},
    }


# --- in a process of its own ---------------------------------------------------------------------


def _read(config: PrepareConfig, names: list[str], work: Path) -> Measured:
    measured, begun = Measured(), time.perf_counter()
    few = work / "few.jsonl"
    work.mkdir(parents=True, exist_ok=True)
    with Path(names[0]).open(encoding="utf-8") as stream:
        write_text(few, stream.readline())
    _reader(config, [str(few)], work / "few").read(0)
    workers = [_reader(config, names, work / f"again {n}") for n in range(1, REPEATS)]
    workers.append(_reader(config, names, work))
    measured.setup_seconds = time.perf_counter() - begun
    measured.fastest(lambda number: workers[number].read(0))
    for document in read_documents(ShardPath(work / "0", FIRST)):
        measured.got(document)
    measured.peak_bytes = peak_resident()
    return measured


def _reader(config: PrepareConfig, names: list[str], work: Path) -> Worker:
    """A Worker whose plan has the files as its first unit."""
    (work / "0").mkdir(parents=True)
    unit = [asdict(file) for file in find_files(",".join(names))]
    write_json(work / PLAN, {"inputs": {}, "units": [unit]})
    return Worker(config, work)


def _encode(config: PrepareConfig, source: ShardPath, work: Path) -> Measured:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as in the processes of a run
    measured, begun = Measured(), time.perf_counter()
    open_model(config.model).require_tokenizer().save(work / TOKENIZER)
    tokenizer = load_tokenizer(work / TOKENIZER)
    documents = list(read_documents(source))
    for document in documents:
        measured.got(document)

    def write(name: str, some: list[Document]) -> None:
        folder = work / ENCODE / name
        folder.mkdir(parents=True)
        write_rows(folder, iter(some), Tally(0), config, tokenizer)

    write("few", documents[:1])
    measured.setup_seconds = time.perf_counter() - begun
    measured.fastest(lambda number: write(str(number), documents))
    measured.peak_bytes = peak_resident()
    return measured


def _step(name: str, config: PrepareConfig, source: ShardPath, target: ShardPath) -> Measured:
    measured, begun = Measured(), time.perf_counter()
    (step,) = replace(config, steps=name).make_steps()
    first = next(read_documents(source), None)
    if first is None:
        raise UserError(f"--source: the steps before {name} removed all documents drawn from it")
    # What is loaded on first use is loaded once for a whole run.
    if isinstance(step, Pass):
        step.observe(first)
    else:
        step.apply(first, Counter())
    measured.setup_seconds = time.perf_counter() - begun
    if isinstance(step, Pass):
        _measure_pass(step, source, target, measured)
    else:
        _measure_step(step, source, target, measured)
    measured.peak_bytes = peak_resident()
    return measured


def _measure_step(step: Step, source: ShardPath, target: ShardPath, measured: Measured) -> None:
    counts = Counter[str]()
    with DocumentShard(target, ()) as shard:
        for batch in _batches(source, measured):
            with measured.timed():
                outcomes = [step.apply(document, counts) for document in batch]
            for outcome in outcomes:
                if isinstance(outcome, Removal):
                    measured.removed[outcome.reason] += 1
                else:
                    shard.add(outcome, {})


def _measure_pass(each: Pass, source: ShardPath, target: ShardPath, measured: Measured) -> None:
    with DocumentShard(target, (each.name,)) as shard:
        for batch in _batches(source, measured):
            with measured.timed():
                evidence = [each.observe(document) for document in batch]
            for document, found in zip(batch, evidence, strict=True):
                shard.add(document, {each.name: found})
    stored = Stored([target], [shard.count])
    with measured.timed():
        observed = _Observed(stored, each.name)
        decisions = list(each.decide(observed, stored.text, Counter()))
    measured.removed.update(decision.reason for decision in decisions)
    measured.taken = [stored.document(decision.number).id for decision in decisions]


@dataclass(frozen=True)
class _Observed(Iterable[Observed]):
    """All that a pass observed; may be iterated over again."""

    stored: Stored
    name: str

    def __iter__(self) -> Iterator[Observed]:
        return self.stored.observed(self.name)


def _batches(source: ShardPath, measured: Measured) -> Iterator[list[Document]]:
    documents = read_documents(source)
    while batch := list(islice(documents, _AT_ONCE)):
        for document in batch:
            measured.got(document)
        yield batch
