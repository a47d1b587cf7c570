"""A contender's side of the talk with the bench: set up once, then run the steps asked for.

One JSON object a line. The bench writes what to set up; the answer reports how that went. Then
`{"steps": n}` is answered with `{"seconds": [n times]}`, after one more step that isn't timed, and
`{"stop": true}` with `{"peak_bytes": n, "measured": {...}}`, which is the end; so is the end of
the input.

Peers' interpreters import this: it needs the standard library and nothing else.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO


def peak_resident() -> int:
    """Most memory that this process has had resident, in bytes.

    From /proc where there is one: `ru_maxrss` counts what the process was before it began its
    program, a copy of the bench.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


@dataclass(frozen=True)
class Contender:
    """One that is ready to run.

    Attributes:
      step: runs a step to its end; returns its loss, or None where it has none.
      facts: what it is: versions and choices.
      peak: peak memory so far, in bytes.
      brief: where a step takes many seconds, less work that compiles every program of a step. It
        replaces the first two steps, and no step that isn't timed goes before the others.
      measured: what it knows besides when all steps are done.
    """

    step: Callable[[], float | None]
    facts: dict[str, Any] = field(default_factory=dict)
    peak: Callable[[], int] = peak_resident
    brief: Callable[[], object] | None = None
    measured: Callable[[], dict[str, Any]] = dict


def serve(setup: Callable[[dict[str, Any]], Contender]) -> None:
    """Answers the bench until it says stop; exits with 1 after an error, which it reports."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is for the log
    try:
        _serve(setup, answers)
    except Exception as error:
        traceback.print_exc()
        reason = (str(error).strip().splitlines() or [""])[0]
        _answer(answers, error=f"{type(error).__name__}: {reason}")
        sys.exit(1)


def _serve(setup: Callable[[dict[str, Any]], Contender], answers: TextIO) -> None:
    asked = json.loads(sys.stdin.readline())
    begun = time.perf_counter()
    contender = setup(asked)
    ready = time.perf_counter()
    losses: list[float | None] = []
    times = [ready]
    # Allocators and the optimiser's state settle in the first step: the second is like the others.
    for _ in range(2 if contender.brief is None else 1):
        if contender.brief is None:
            losses.append(contender.step())
        else:
            contender.brief()
        times.append(time.perf_counter())
    _answer(
        answers,
        setup_seconds=ready - begun,
        first_step_seconds=times[1] - ready,
        second_step_seconds=times[2] - times[1] if contender.brief is None else None,
        losses=losses,
        facts=contender.facts,
    )
    for line in sys.stdin:
        asked = json.loads(line)
        if "stop" in asked:
            peak = contender.peak()  # before what measuring takes
            _answer(answers, peak_bytes=peak, measured=contender.measured())
            return
        # Caches, and on a virtual machine free memory, are others' while a contender waits. What
        # getting them back takes isn't a part of a step that follows another.
        if contender.brief is None:
            contender.step()
        seconds = []
        for _ in range(asked["steps"]):
            begun = time.perf_counter()
            contender.step()
            seconds.append(time.perf_counter() - begun)
        _answer(answers, seconds=seconds)


def _answer(answers: TextIO, **what: Any) -> None:
    print(json.dumps(what), file=answers, flush=True)
