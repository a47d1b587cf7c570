"""The bench's side of the talk with a contender, which lives in a process of its own.

So peak memory, thread pools and libraries don't mix, and contenders that are set up once can take
turns. See `benchmarks.serve` for what is said.
"""

import json
import math
import os
import selectors
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import benchmarks
import vcjax

CONTENDERS = "benchmarks.contenders"
PATIENCE_S = 1800.0  # for one answer; a compiler may take minutes
TURN_S = 2.0  # at least so long are the steps of a turn, as far as MOST_STEPS allows
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
      setup: what its `serve` is told, ready for JSON; paths are absolute.
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
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Starts it and waits until two steps are done, or what stands for them.

        Raises:
          ContenderFailed: it can't be set up.
        """
        with self._held:
            # Peers' interpreters see our two packages, and nothing else of the checkout.
            home = Path(self._held.enter_context(tempfile.TemporaryDirectory()))
            for package in (vcjax, benchmarks):
                folder = Path(package.__path__[0]).resolve()
                (home / folder.name).symlink_to(folder)
            log = self._held.enter_context(self._log.open("wb"))
            self._process = subprocess.Popen(
                [self.entry.python, "-m", self.entry.module],
                cwd=home,
                env=_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
            self._held.callback(self._end)
            self.ready = self._ask(self.entry.setup)
            self._step_seconds = self.ready["second_step_seconds"] or TURN_S
            self._held = self._held.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

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
            with suppress(BrokenPipeError):  # what an ended process was told can't be flushed
                stream.close()


def _environment() -> dict[str, str]:
    """Ours, without a cache of compilations: the first step is to be compiled."""
    return {
        name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"
    }
