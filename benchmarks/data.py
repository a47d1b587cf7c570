"""How fast data comes: JSONL records -> prepared rows -> batches."""

import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import vcjax.data
from benchmarks.harness import spread
from benchmarks.results import Bound, check_bounds
from vcjax.core.files import read_jsonl, replaced
from vcjax.data.importers import read_records
from vcjax.data.loader import Batches
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.weights.load import load_model

READ, PREPARE, LOAD = "JSONL to records", "records to rows", "rows to batches"
"""The second deduplicates, tokenises, packs and writes; the third reads in random order."""

WHOLE = "records to batches"
"""The last two, one after the other; a run does the first of them but once."""

BOUNDS = (Bound(f"{WHOLE}, tokens/s", least=1e6),)


@dataclass(frozen=True)
class DataBench:
    """What to measure.

    Attributes:
      model: a model reference, for its tokenizer.
      megabytes: of text, in 10^6 bytes.
      batch, length: rows of a batch and tokens of a row.
      rounds: repeats.
    """

    model: str
    megabytes: float
    batch: int
    length: int
    rounds: int


def bench_data(bench: DataBench, workdir: Path) -> dict[str, Any]:
    """Measures each step in each round; leaves the documents and the rows in the workdir.

    Returns:
      Sizes, `seconds` (a spread) and `tokens_per_second` by step, and `bounds`.
    """
    tokenizer = load_model(bench.model).require_tokenizer()
    tokenizer.encode_texts(["made on first use"])
    source, folder = workdir / "documents.jsonl", workdir / "prepared"
    print(f"writing {bench.megabytes:g} MB of documents", file=sys.stderr, flush=True)
    write_documents(source, bench.megabytes)
    taken: dict[str, list[float]] = {step: [] for step in (READ, PREPARE, LOAD)}
    summary: dict[str, Any] = {}
    for number in range(bench.rounds):
        print(f"round {number + 1} of {bench.rounds}", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        with _timed(taken[READ]):
            records = read_records(source, "documents").records
        with _timed(taken[PREPARE]):
            summary = prepare(folder, records, "documents", tokenizer, bench.length)
        with _timed(taken[LOAD]):
            _load(folder, bench.batch)
    tokens = summary["tokens"]
    prepared = [sum(both) for both in zip(taken[PREPARE], taken[LOAD], strict=True)]
    seconds = {step: spread(values) for step, values in {**taken, WHOLE: prepared}.items()}
    rates = {step: tokens / each["median"] for step, each in seconds.items()}
    figures = {f"{step}, tokens/s": rate for step, rate in rates.items()}
    return {
        "megabytes": bench.megabytes,
        "batch": bench.batch,
        "length": bench.length,
        "records": summary["examples"],
        "rows": summary["rows"],
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": rates,
        "bounds": check_bounds(BOUNDS, figures),
    }


@contextmanager
def _timed(taken: list[float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    taken.append(time.perf_counter() - begun)


def _load(folder: Path, batch: int) -> None:
    rows = open_prepared(folder)
    batches = Batches([(rows, 1.0)], batch, seed=0).prefetch()
    for _ in islice(batches, len(rows) // batch):
        pass


SHIPPED = Path(vcjax.data.__file__).parent / "demo" / "documents.jsonl"
RARE = 0.05


def write_documents(path: Path, megabytes: float, seed: int = 0) -> None:
    """Writes at least `megabytes` (10^6 bytes each) of text as JSONL documents, all different.

    The words of a variation are those of a shipped document in another order. One in twenty is
    spelt backwards: tokenizers remember words that they have met, and real text has rare ones.
    """
    sources = [record for _, record in read_jsonl(SHIPPED)]
    draw = random.Random(seed)
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        written, number = 0, 0
        while written < megabytes * 1e6:
            source = draw.choice(sources)
            words = source["text"].split(" ")
            draw.shuffle(words)
            words = [word[::-1] if draw.random() < RARE else word for word in words]
            # Short texts, and those without spaces, come out alike by chance.
            text = f"{number} {' '.join(words)}"
            fields = {key: value for key, value in source.items() if key != "id"}
            print(json.dumps({**fields, "text": text}, ensure_ascii=False), file=stream)
            written, number = written + len(text.encode()), number + 1
