"""The bench's side of the protocol with contenders, each of which runs in a process of its own.

So peak memory, thread pools and libraries don't mix, and contenders that were set up once can take
turns. `benchmarks.serve` is the contender's side, and describes the protocol.

The machine's speed drifts, so a ratio is taken within each round, between neighbours, and reported
as the median over the rounds with the lowest and the highest."""

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any, Self

import benchmarks
import vcjax

CONTENDERS = "benchmarks.contenders"
PATIENCE_S = 1800.0  # for one answer; a compiler may take minutes
TURN_S = 2.0  # a turn runs steps for at least this long, or MOST_STEPS of them
MOST_STEPS = 50
SETTLE_S = 0.5  # OpenMP's threads spin for up to 0.2 s after their work


class ContenderFailed(Exception):
    """A contender that can't be measured, by `name`, and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class Entry:
    """What to run.

    Attributes:
      name: what it is called in the results.
      python: the interpreter that has its libraries.
      module: the program: it calls `serve`.
      setup: what `serve` passes to its `setup`, as JSON; paths are absolute.
    """

    name: str
    python: Path
    module: str
    setup: dict[str, Any]


class Worker:
    """A running contender; a context manager that leaves no process behind."""

    def __init__(self, entry: Entry, log: Path):
        """`log` gets what the contender prints."""
        self.entry, self._log = entry, log
        self.ready: dict[str, Any] = {}
        self.measured: dict[str, Any] = {}
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Starts it and waits until its two first steps are done, or its `brief` one.

        Raises:
          ContenderFailed: it can't be set up.
        """
        with self._resources:
            # Peers' interpreters see our two packages, and nothing else of the checkout.
            home = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
            for package in (vcjax, benchmarks):
                folder = Path(package.__path__[0]).resolve()
                (home / folder.name).symlink_to(folder)
            log = self._resources.enter_context(self._log.open("wb"))
            self._process = subprocess.Popen(
                [self.entry.python, "-m", self.entry.module],
                cwd=home,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
            self._resources.callback(self._end)
            self.ready = self._ask(self.entry.setup)
            self._step_seconds = self.ready["second_step_seconds"] or TURN_S
            self._resources = self._resources.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def turn(self) -> list[float]:
        """Runs a few steps; seconds of each. Waits a moment, so that the next contender has the
        machine for itself."""
        steps = min(math.ceil(TURN_S / self._step_seconds), MOST_STEPS)
        seconds = self._ask({"steps": steps})["seconds"]
        self._step_seconds = min(seconds)
        time.sleep(SETTLE_S)
        return seconds

    def stop(self) -> int:
        """Ends it; its peak memory in bytes. `measured` is then what it knows besides."""
        ended = self._ask({"stop": True})
        self.measured = ended["measured"]
        return ended["peak_bytes"]

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed(self._ended()) from None
        answer = json.loads(self._line())
        if "error" in answer:
            raise self._failed(answer["error"])
        return answer

    def _line(self) -> bytes:
        """The next line of the answers."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE_S):
                raise self._failed(f"no answer within {PATIENCE_S:.0f} s; see {self._log}")
        line = self._process.stdout.readline()
        if not line:
            raise self._failed(self._ended())
        return line

    def _failed(self, reason: str) -> ContenderFailed:
        return ContenderFailed(self.entry.name, reason)

    def _ended(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "the process was killed: out of memory?"
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"the process ended with exit code {code}"

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # a pipe to an ended process can't be flushed
                stream.close()


def _environment() -> dict[str, str]:
    """Ours, without a cache of compilations: the first step is to be compiled."""
    return {
        name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"
    }


Round = dict[str, float]
"""Seconds of a step by contender: the mean over the steps of its turn."""


def take_turns(workers: Sequence[Worker], rounds: int) -> list[Round]:
    """Lets each run some steps, one after the other, `rounds` times."""
    return [{worker.entry.name: fmean(worker.turn()) for worker in workers} for _ in range(rounds)]


def spread(values: Iterable[float]) -> dict[str, Any]:
    """`median, low, high` and all `values`."""
    values = list(values)
    return {"median": median(values), "low": min(values), "high": max(values), "values": values}


def rate_ratio(rounds: Sequence[Round], of: str, to: str) -> dict[str, Any]:
    """How many times as fast `of` is as `to`, over the rounds that have both."""
    return spread(one[to] / one[of] for one in rounds if of in one and to in one)


def summarise(
    ready: Mapping[str, Any], seconds: Iterable[float], peak: int, tokens: int, flops: float
) -> dict[str, Any]:
    """The results of a contender in a case.

    Args:
      ready: its answer when it was set up.
      seconds: of a step, by round.
      tokens, flops: of a step.

    Returns:
      `setup_seconds, first_step_seconds, seconds` (a spread), `tokens_per_second`,
      `flops_per_second`, `peak_bytes`, `losses` (of the first two steps) and `facts`.
    """
    taken = spread(seconds)
    return {
        "setup_seconds": ready["setup_seconds"],
        "first_step_seconds": ready["first_step_seconds"],
        "seconds": taken,
        "tokens_per_second": tokens / taken["median"],
        "flops_per_second": flops / taken["median"],
        "peak_bytes": peak,
        "losses": ready["losses"],
        "facts": ready["facts"],
    }


@dataclass
class CaseResult:
    """The measurements of a case, by contender; see `benchmarks.serve`.

    Attributes:
      rounds: seconds of a step.
      ready: its answer when it was set up.
      peaks: its peak memory, in bytes.
      measured: its further measurements, made when it ended.
      skipped: why it could not be measured.
    """

    rounds: list[Round] = field(default_factory=list)
    ready: dict[str, dict[str, Any]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def seconds(self, name: str) -> list[float]:
        """The seconds of a contender's step, by round."""
        return [one[name] for one in self.rounds if name in one]

    def _end(self, worker: Worker) -> None:
        name = worker.entry.name
        self.ready[name], self.peaks[name] = worker.ready, worker.stop()
        self.measured[name] = worker.measured


def run_case(
    title: str, anchors: Sequence[Entry], others: Sequence[Entry], rounds: int, logs: Path
) -> CaseResult:
    """Runs a case: the anchors take turns, together with one of the others at a time.

    So at most one of the others is in memory. Output is in `logs/TITLE, NAME.log`.

    Raises:
      ContenderFailed: an anchor can't be measured. Others that can't be are left out.
    """
    result = CaseResult()

    def worker(entry: Entry) -> Worker:
        print(f"{title}: setting up {entry.name}", file=sys.stderr, flush=True)
        return Worker(entry, logs / f"{title}, {entry.name}.log")

    with ExitStack() as stack:
        staying = [stack.enter_context(worker(entry)) for entry in anchors]
        result.ready = {one.entry.name: one.ready for one in staying}  # the first in the tables
        for entry in others:
            try:
                with worker(entry) as beside:
                    result.rounds += take_turns([*staying, beside], rounds)
                    result._end(beside)
            except ContenderFailed as error:
                if error.name != entry.name:
                    raise
                result.skipped[entry.name] = error.reason
        if not result.rounds:
            result.rounds = take_turns(staying, rounds)
        for one in staying:
            result._end(one)
    return result
