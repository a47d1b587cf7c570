"""How fast a corpus is prepared: whole runs of several sizes, and each step by itself.

From the runs' figures follows what the paper's corpus of 33.7 GB takes, here and elsewhere. The
exponent of cost is that of CPU seconds, which other work on the machine hardly changes.

A run of another size is added to those in `bench.json` by naming its part of the corpus: 32 eighths
of `--megabytes=1000` are 4,000 MB, and begin with what the other runs read.
"""

import math
import os
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.corpus_steps import measure_steps
from benchmarks.datatrove import STEPS, measure_datatrove
from benchmarks.drawn_corpus import FILES, drawn_corpus
from benchmarks.environment import in_subprocess
from benchmarks.results import Bound, check_bounds, circumstances
from configs.prepare import get_config
from vcjax.core.errors import UserError
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.language import Language
from vcjax.data.corpus.processes import MB_PER_WORKER, LocalProcesses
from vcjax.data.corpus.run import prepare_corpus
from vcjax.data.corpus.shards import ShardPath
from vcjax.data.corpus.worker import TOKENIZER
from vcjax.weights.load import open_model

PAPER_MEGABYTES = 33_700
CORES = 64
GiB = 2**30
ALL, TEXT, PEAK, EXPONENT = (
    "all steps, MB/s",
    "without tokenising, MB/s",
    "all processes, GiB",
    "exponent of cost",
)
BESIDE = "{} beside datatrove, times as fast"
BOUNDS = (
    Bound(ALL, least=1.0),
    Bound(TEXT, least=2.0),
    Bound(PEAK, most=2.0),
    Bound(EXPONENT, most=1.1),
    *(Bound(BESIDE.format(name), least=1.0) for name in STEPS),
)
PARTS = (1, 2, 4, FILES)
"""Of a corpus, which whole runs read: numbers of files."""
_SHARD_MB = 64  # the default of a corpus that isn't small
_SECONDS_BETWEEN = 0.25


@dataclass(frozen=True)
class PrepareBench:
    """What to measure.

    Attributes:
      model: a model reference, for its tokenizer.
      source: a folder of texts, whose sentences are drawn.
      megabytes: of `FILES` files of the corpus that is drawn, in 10^6 bytes.
      step_megabytes: of the corpus that each step is measured on.
      processes: of a whole run.
      datatrove_python: see `measure_datatrove`.
    """

    model: str
    source: Path
    megabytes: float
    step_megabytes: float
    processes: int
    datatrove_python: str

    def about(self) -> dict[str, Any]:
        """What the runs of one section share."""
        return {
            "model": self.model,
            "source": str(self.source),
            "megabytes": self.megabytes,
            "processes": self.processes,
        }


def bench_prepare(
    bench: PrepareBench,
    workdir: Path,
    parts: Sequence[int] = PARTS,
    before: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measures steps and runs; the corpora stay in the workdir, for the next time.

    Args:
      parts: files of the corpus that each run reads.
      before: an earlier result, whose steps and whose runs of other parts are kept.

    Returns:
      `runs` by size, `steps`, `datatrove`, `planted`, `estimates`, `figures` and `bounds`.

    Raises:
      UserError: `before` was measured on something else.
    """
    scratch, corpora = workdir / "scratch", workdir / "corpora"
    shutil.rmtree(scratch, ignore_errors=True)
    if before is None:
        kept = _measured_steps(bench, corpora / "steps", scratch)
        runs = {}
    else:
        for name, value in bench.about().items():
            if before.get(name) != value:
                raise UserError(
                    f"--parts: {name} is {value}, and was {before.get(name)} in bench.json"
                )
        kept = {name: before[name] for name in _OF_STEPS}
        runs = {run["files"]: run for run in before["runs"]}
    corpus = drawn_corpus(bench.source, corpora / "runs", bench.megabytes, count=max(parts))
    for count in parts:
        part = corpus.files[:count]
        config = _config(bench, [str(file) for file in part])
        megabytes = sum(file.stat().st_size for file in part) / 1e6
        _say(f"a whole run, of {megabytes:,.0f} MB")
        begun = circumstances()
        run = in_subprocess(_measure_run, config, scratch / f"run {count}")
        runs[count] = {"files": count, "megabytes": megabytes, **run, **begun}
        shutil.rmtree(scratch / f"run {count}")
    shutil.rmtree(scratch)
    by_size = [runs[count] for count in sorted(runs)]
    figures = _figures(by_size) | _ratios(kept["steps"], kept["datatrove"])
    return {
        **bench.about(),
        **kept,
        "runs": by_size,
        "estimates": estimates(by_size, figures.get(EXPONENT, 1.0), bench.processes),
        "figures": figures,
        "bounds": check_bounds(BOUNDS, figures),
    }


_OF_STEPS = ("step_megabytes", "steps", "planted", "datatrove")


def _measured_steps(bench: PrepareBench, folder: Path, scratch: Path) -> dict[str, Any]:
    small = drawn_corpus(bench.source, folder, bench.step_megabytes, seed=1)
    config = _config(bench, [str(file) for file in small.files])
    _say(f"each step, on {bench.step_megabytes:g} MB")
    steps = measure_steps(small, config, scratch / "steps")
    peers = measure_datatrove(
        folder,
        ShardPath(scratch / "steps", Language.name),
        scratch,
        scratch / "steps" / TOKENIZER / "tokenizer.json",
        bench.datatrove_python,
    )
    return {"step_megabytes": bench.step_megabytes, **steps, "datatrove": peers}


def _config(bench: PrepareBench, names: Sequence[str]) -> PrepareConfig:
    config = get_config()
    config.documents, config.model = ",".join(names), bench.model
    config.workers = bench.processes
    config.memory_mb = bench.processes * MB_PER_WORKER
    # So that there is work for each process in the smallest run too.
    config.shard_mb = min(_SHARD_MB, max(1, int(bench.megabytes / FILES / bench.processes)))
    return PrepareConfig.from_dict(config)


def _figures(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    whole = runs[-1]
    without = whole["seconds"] - whole["rounds"]["write"]
    figures = {
        ALL: whole["megabytes"] / whole["seconds"],
        TEXT: whole["megabytes"] / without,
        PEAK: whole["peak_bytes"] / GiB,
    }
    if len(runs) > 1:
        sizes, seconds = (
            np.log([run[name] for run in runs]) for name in ("megabytes", "cpu_seconds")
        )
        figures[EXPONENT] = float(np.polyfit(sizes, seconds, 1)[0])
    return figures


def _ratios(steps: dict[str, Any], peers: dict[str, Any]) -> dict[str, float]:
    """How many times as fast as datatrove's block each step is, where both were measured."""
    return {
        BESIDE.format(name): steps[name]["mb_per_cpu_second"] / peer["mb_per_cpu_second"]
        for name, peer in peers.items()
        if name in steps and "mb_per_cpu_second" in peer
    }


def estimates(
    runs: Sequence[dict[str, Any]],
    exponent: float,
    processes: int,
    megabytes: float = PAPER_MEGABYTES,
    cores: int = CORES,
) -> dict[str, Any]:
    """Hours for a larger corpus, by the smallest run's figures and the largest's.

    What shards take grows as it did between the two and is divided among cores. So does what one
    process does alone (planning, decisions about duplicates, the end), which isn't divided, and
    grows by the power of `exponent` where that is above 1. An array has a task of one core for each
    shard, all at the same time; each needs `start_seconds` to begin, in each of the rounds.

    Args:
      runs: as in the section, by size.
    """

    def grown(figure: Callable[[dict[str, Any]], float]) -> float:
        first, last = runs[0], runs[-1]
        more = (figure(last) - figure(first)) / (last["megabytes"] - first["megabytes"])
        return figure(last) + max(0.0, more) * (megabytes - last["megabytes"])

    whole = runs[-1]
    shards = processes * grown(lambda run: sum(run["rounds"].values()))
    steeper = (megabytes / whole["megabytes"]) ** max(0.0, exponent - 1)
    alone = grown(lambda run: run["alone_seconds"]) * steeper
    tasks = math.ceil(megabytes / _SHARD_MB)
    array = shards / tasks + len(whole["rounds"]) * whole["start_seconds"] + alone
    return {
        "megabytes": megabytes,
        f"hours on {processes} cores": (shards / processes + alone) / 3600,
        f"hours on {cores} cores": (shards / cores + alone) / 3600,
        f"hours on an array of {tasks} tasks": array / 3600,
        "of which by one process": alone / 3600,
    }


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


# --- one run, in a process of its own ------------------------------------------------------------


def _measure_run(config: PrepareConfig, folder: Path) -> dict[str, Any]:
    """Seconds, those of each round's shards, those of one process alone, and the peak memory.

    CPU seconds are of all processes, without those that the watch over the memory takes.
    """
    model = open_model(config.model)
    tokenizer = model.require_tokenizer()
    rounds: dict[str, float] = {}
    with _Memory() as memory:
        begun, cpu = time.perf_counter(), _cpu_seconds()
        summary = prepare_corpus(
            config, folder, tokenizer, model.origin, lambda *args: _Timed(rounds, *args)
        )
        seconds, cpu = time.perf_counter() - begun, _cpu_seconds() - cpu
    removed = {name: sum(step["removed"].values()) for name, step in summary["steps"].items()}
    return {
        "seconds": seconds,
        "cpu_seconds": cpu - memory.cpu_seconds,
        "rounds": rounds,
        "alone_seconds": seconds - sum(rounds.values()),
        "start_seconds": in_subprocess(_start_seconds, config, time.time()),
        "peak_bytes": memory.peak,
        "documents": summary["steps"]["read"]["documents"],
        "removed": {name: count for name, count in removed.items() if count},
        "tokens": summary["tokens"],
    }


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _start_seconds(config: PrepareConfig, begun: float) -> float:
    """Until a process that began at `begun` (seconds of `time.time`) can work on a shard."""
    config.make_steps()
    return time.time() - begun


class _Timed(LocalProcesses):
    """Notes the seconds of each method's shards."""

    def __init__(self, rounds: dict[str, float], config: PrepareConfig, work: Path) -> None:
        super().__init__(config, work)
        self._rounds = rounds

    def run(self, method: str, todo: Sequence[tuple], done: Callable[[], object]) -> None:
        begun = time.perf_counter()
        super().run(method, todo, done)
        seconds = time.perf_counter() - begun
        self._rounds[method] = self._rounds.get(method, 0.0) + seconds


class _Memory:
    """The most memory that this process and those below it had at the same time; looks often.

    A page that several of them share counts once.

    Attributes:
      peak: in bytes.
      cpu_seconds: that looking took.
    """

    def __init__(self) -> None:
        self.peak, self.cpu_seconds = 0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, sum(map(_proportional, _with_children(os.getpid()))))
            self.cpu_seconds = time.thread_time()
            if self._over.wait(_SECONDS_BETWEEN):
                return


def _proportional(process: int) -> int:
    """Bytes of a process, and its share of what it shares; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _with_children(process: int) -> list[int]:
    """A process, and those that it or one of them started."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found = [process]
    for each in found:  # which grows
        found += [child for child, parent in parents.items() if parent == each]
    return found
