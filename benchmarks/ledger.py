"""Does the ledger run_case at a million attempts? Inserts, resume, queries, bytes and memory."""

import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.environment import in_subprocess
from benchmarks.near_duplicates import made_up_queries, measure_near_duplicates
from benchmarks.results import Bound, check_bounds
from benchmarks.serve import peak_resident
from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.query import Condition, attempt_with_calls, attempts, counts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.core.seeds import derive_seed
from vcjax.roles.role import Ask, Reply
from vcjax.roles.verdict import KINDS, Verdict
from vcjax.text.language import Language

GiB = 2**30
STAGES = ("attacker", "actor/0", "actor/1", "critic/0", "critic/1")
_WAVE = 500
_SINGLE = 5000
_LENGTHS = {"attacker": (60, 160), "actor": (200, 700), "critic": (80, 200)}
"""Characters of a reply of each role."""

_QUERIES = {
    "kind=accepted": (),
    "kind=rejected and reason~score": (),
    "all cells and kinds": ("subdomain", "attack", "lang", "severity", "turns", "kind"),
    "outcome=timeout": (),
}
"""Conditions, and the fields that they are counted by."""

_RESUMED = "ledger gone through and index rebuilt, s"
BOUNDS = (
    Bound("ledger, GiB resident", most=2.0),
    Bound("near-duplicates, GiB resident", most=2.0),
    Bound(_RESUMED, most=60.0),
)

_MadeUp = tuple[Attempt, str, Verdict, list[Reply]]
_LANGUAGES: tuple[Language, ...] = ("en", "zh")


def bench_ledger(count: int, workdir: Path, seed: int = 0) -> dict[str, Any]:
    """Measures a ledger and an index of near-duplicates of `count` attempts, each in a process of
    its own; returns `ledger`, `near_duplicates`, `figures` and `bounds`."""
    ledger = in_subprocess(measure_ledger, count, workdir, seed)
    print(f"an index of {count:,} queries", file=sys.stderr, flush=True)
    near = in_subprocess(measure_near_duplicates, count, seed)
    figures = {
        "attempts": count,
        "calls": ledger["calls"],
        "file, GiB": ledger["file_bytes"] / GiB,
        "records/s, a wave at a time": ledger["records_per_second"],
        "records/s of the processor": ledger["records_per_processor_second"],
        "records/s, the last tenth": ledger["records_per_second_at_last"],
        "calls/s, one at a time on the full ledger": ledger["calls_per_second"],
        "calls/s of the processor, one at a time": ledger["calls_per_processor_second"],
        "ledger gone through, s": ledger["resume_seconds"],
        "ledger gone through, s of the processor": ledger["resume_processor_seconds"],
        **{f"counted: {name}, s": taken for name, taken in ledger["count_seconds"].items()},
        "one attempt shown, s": ledger["show_seconds"],
        "ledger, GiB resident": ledger["peak_bytes"] / GiB,
        "index rebuilt, s": near["build_seconds"],
        "index rebuilt, s of the processor": near["build_processor_seconds"],
        "near-duplicates, GiB resident": near["peak_bytes"] / GiB,
        _RESUMED: ledger["resume_seconds"] + near["build_seconds"],
        f"{_RESUMED} of the processor": ledger["resume_processor_seconds"]
        + near["build_processor_seconds"],
    }
    bounds = check_bounds(BOUNDS, figures)
    return {"ledger": ledger, "near_duplicates": near, "figures": figures, "bounds": bounds}


def measure_ledger(count: int, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Fills a ledger in `folder` with made-up attempts of five calls each, and goes through it.

    Memory is the peak of the process, in bytes: run it in a process of its own. The
    ledger is removed at the end: it takes about 6 KB an attempt.

    Returns:
      `attempts`, `calls`, `file_bytes`; `records_per_second` (attempts and calls) over all and
      `records_per_second_at_last`, over the last tenth, committed a wave at a time;
      `calls_per_second`, each committed by itself, on the full ledger; `resume_seconds`, to go
      through all decided attempts and their queries; `count_seconds` by condition and
      `show_seconds` of one attempt; `peak_bytes`. Those of `processor_seconds` don't count the time
      that a busy machine or its disk took.
    """
    home = folder / "ledger_scale"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    path = home / "ledger.sqlite"
    try:
        with Ledger(path, charter="0" * 64) as ledger:
            waves = list(_fill(ledger, count, seed))
            with _timed() as single:
                _record_single_calls(ledger, count, seed)
        with Ledger(path) as ledger, _timed() as resumed:
            characters = sum(len(row["id"]) + len(row["query"]) for row in ledger.decided())
        return {
            "attempts": count,
            "calls": count * len(STAGES) + _SINGLE,
            "file_bytes": path.stat().st_size,
            "records_per_second": _rate(waves, "seconds"),
            "records_per_processor_second": _rate(waves, "processor"),
            "records_per_second_at_last": _rate(waves[-max(1, len(waves) // 10) :], "seconds"),
            "calls_per_second": _SINGLE / single.seconds,
            "calls_per_processor_second": _SINGLE / single.processor,
            "resume_seconds": resumed.seconds,
            "resume_processor_seconds": resumed.processor,
            "resume_characters": characters,
            **_query(path, count),
            "peak_bytes": peak_resident(),
        }
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _query(path: Path, count: int) -> dict[str, Any]:
    taken = {}
    with opened_to_read(path) as connection:
        for name, by in _QUERIES.items():
            conditions = [] if by else [Condition.parse(text) for text in name.split(" and ")]
            with _timed() as counted:
                counts(connection, by, conditions)
            taken[name] = counted.seconds
        row = next(attempts(connection, [Condition("number", "=", count // 2)]))
        with _timed() as shown:
            attempt_with_calls(connection, row["id"])
    return {"count_seconds": taken, "show_seconds": shown.seconds}


@dataclass
class _Taken:
    """What something took, and how many attempts were recorded by it."""

    seconds: float = 0.0
    processor: float = 0.0
    attempts: int = 0


@contextmanager
def _timed(attempts: int = 0) -> Iterator[_Taken]:
    taken, begun, began = _Taken(attempts=attempts), time.perf_counter(), time.process_time()
    yield taken
    taken.seconds, taken.processor = time.perf_counter() - begun, time.process_time() - began


def _rate(waves: Sequence[_Taken], clock: str) -> float:
    """Records a second, attempts and their calls."""
    records = (len(STAGES) + 1) * sum(wave.attempts for wave in waves)
    return records / sum(getattr(wave, clock) for wave in waves)


def _fill(ledger: Ledger, count: int, seed: int) -> Iterator[_Taken]:
    """Records all attempts; yields what each wave took, without making it up."""
    wave = []
    with tqdm(total=count, desc="attempts", disable=None) as bar:
        for number, made_up in enumerate(_made_up(count, seed), start=1):
            wave.append(made_up)
            if len(wave) == _WAVE or number == count:
                with _timed(len(wave)) as taken:
                    _record(ledger, wave)
                yield taken
                bar.update(len(wave))
                wave.clear()


def _record(ledger: Ledger, wave: Sequence[_MadeUp]) -> None:
    with ledger.transaction():
        for attempt, query, verdict, replies in wave:
            for stage, reply in zip(STAGES, replies, strict=True):
                _record_call(ledger, attempt.id, stage, query, reply)
            answers = [reply.text for reply in replies[1:3]]
            ledger.record_attempt(
                attempt,
                source="attacker",
                attacker_fault=None,
                query=query,
                answer=answers[0],
                verdict=verdict,
                candidates=[
                    {"answer": answer, "kind": verdict.kind, "reason": verdict.reason}
                    for answer in answers
                ],
                charter=ledger.charter,
            )


def _record_call(ledger: Ledger, id: str, stage: str, query: str, reply: Reply) -> None:
    ask = Ask(id, ({"role": "user", "content": query},), 192, 0.7, 0.95, derive_seed(id, stage))
    ledger.record_call(id, stage, ask, reply, model="some/model", family="some")


def _record_single_calls(ledger: Ledger, count: int, seed: int) -> None:
    reply = Reply("x" * 600, "stop", 300, 150, seconds=1.5, model="1" * 64)
    for number in range(_SINGLE):
        id = f"{derive_seed(seed, number, 'single')}.{count}.{number}"
        _record_call(ledger, id, "actor/0", "Why?", reply)


def _made_up(count: int, seed: int) -> Iterator[_MadeUp]:
    """Attempts of a matrix of 13 x 16 x 2 x 3 cells, their queries, ends and calls' replies."""
    rng, queries = random.Random(derive_seed(seed, "ledger")), made_up_queries(seed)
    text = " ".join(next(queries) for _ in range(2000))
    for number in range(count):
        subdomain, attack = f"subdomain_{number % 13}", f"attack_{number // 13 % 16}"
        cell = subdomain, attack, _LANGUAGES[number // 208 % 2], 1 + number // 416 % 3, 1
        attempt = Attempt(number, number // _WAVE, *cell, number // 1248, "a topic of it")
        kind = rng.choices(KINDS, (40, 50, 8, 2))[0]
        score = rng.randrange(6)
        reason = "" if kind == "accepted" else f"critic: score {score}"
        replies = [_reply(stage, text, rng) for stage in STAGES]
        yield attempt, next(queries), Verdict(kind, reason, score), replies


def _reply(stage: str, text: str, rng: random.Random) -> Reply:
    if rng.random() < 0.01:
        return Reply.failed("timeout", "no whole answer in 120 s", seconds=120.0)
    length = rng.randint(*_LENGTHS[stage.partition("/")[0]])
    start = rng.randrange(len(text) - length)
    return Reply(
        text[start : start + length], "stop", 300, length // 4, seconds=1.5, model="1" * 64
    )
