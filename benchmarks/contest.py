"""One case: contenders that stay, and others that join them one after the other."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rounds import Round, take_turns
from benchmarks.worker import ContenderFailed, Entry, Worker


@dataclass
class Contest:
    """What came of a case, by contender; see `benchmarks.serve`.

    Attributes:
      rounds: seconds of a step.
      ready: its answer when it was set up.
      peaks: most memory that it has held, in bytes.
      measured: what it knew besides when it ended.
      skipped: why it isn't among the others.
    """

    rounds: list[Round] = field(default_factory=list)
    ready: dict[str, dict[str, Any]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def seconds(self, name: str) -> list[float]:
        """Of a contender's step, by round."""
        return [one[name] for one in self.rounds if name in one]

    def _end(self, worker: Worker) -> None:
        name = worker.entry.name
        self.ready[name], self.peaks[name] = worker.ready, worker.stop()
        self.measured[name] = worker.measured


def hold(
    title: str, anchors: Sequence[Entry], others: Sequence[Entry], rounds: int, logs: Path
) -> Contest:
    """Lets the anchors take turns, with each of the others in its time, so that no more than one
    of those is in memory. What they print is in `logs/TITLE, NAME.log`.

    Raises:
      ContenderFailed: an anchor can't be measured. Others that can't be are left out.
    """
    contest = Contest()

    def worker(entry: Entry) -> Worker:
        print(f"{title}: setting up {entry.name}", file=sys.stderr, flush=True)
        return Worker(entry, logs / f"{title}, {entry.name}.log")

    with ExitStack() as held:
        staying = [held.enter_context(worker(entry)) for entry in anchors]
        contest.ready = {one.entry.name: one.ready for one in staying}  # the first in the tables
        for entry in others:
            try:
                with worker(entry) as beside:
                    contest.rounds += take_turns([*staying, beside], rounds)
                    contest._end(beside)
            except ContenderFailed as error:
                if error.name != entry.name:
                    raise
                contest.skipped[entry.name] = error.reason
        if not contest.rounds:
            contest.rounds = take_turns(staying, rounds)
        for one in staying:
            contest._end(one)
    return contest
