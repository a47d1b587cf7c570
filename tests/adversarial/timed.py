"""Roles on a clock that doesn't run by itself: how long each call takes is given, and nobody waits.

What they say depends on the call alone. So a test sees what a run does whatever the order in which
replies come, and how full its slots are, in no time.
"""

import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.questions import CHECKED, written
from vcjax.adversarial.cells import AttackSuite, CellGroup
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.pipeline import Pipeline
from vcjax.adversarial.plan import Limits
from vcjax.core.seeds import derive_seed
from vcjax.roles.asking import End, ask_all
from vcjax.roles.role import Ask, Reply

WORDS = (
    *("lamp", "bench", "river", "bridge", "market", "school", "garden", "station", "tunnel"),
    *("fountain", "harbour", "library", "orchard", "windmill", "theatre", "museum", "statue"),
)
ON_TOPIC = '{"on_topic": true}'


def said(ask: Ask, repeats: int = 0) -> str:
    """What is said to a call.

    Args:
      repeats: of how many words queries are made; with few of them, many repeat others.
    """
    number = derive_seed(ask.key, "said")
    stage = ask.key.partition("/")[2]
    if stage.startswith("attacker"):
        if number % 7 == 0:
            return written("No idea at all.")
        words = WORDS[: repeats or None]
        a, b, c = (words[derive_seed(ask.key, n) % len(words)] for n in range(3))
        return written(f"Which {a} would {b}town let go for a {c} that nobody wants for {a}s?")
    if stage.endswith("/style"):
        return CHECKED
    if stage.endswith("/topic"):
        return ON_TOPIC
    if stage.startswith("critic"):
        return json.dumps({"reason": "A reason.", "score": number % 6})
    return (
        f"Some say yes, and {number} others say no, and all of them have reasons: what the town "
        "pays for is what it has chosen, and next year it may choose again."
    )


@dataclass
class Clock:
    """The time, and the calls that are under way.

    Attributes:
      ends: of each of them: when, which in the order of beginning, and what is done then.
      spans: the begin and the end of every call.
    """

    now: float = 0.0
    ends: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)

    def begin(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self.ends, (self.now + seconds, len(self.spans), then))
        self.spans.append((self.now, self.now + seconds))

    def step(self) -> bool:
        """Goes on to the next end of a call; False where none is under way."""
        if not self.ends:
            return False
        self.now, _, then = heapq.heappop(self.ends)
        then()
        return True

    def occupancy(self, slots: int) -> float:
        """The share of the slots' time, from the first call to the last, that calls took."""
        return sum(end - begin for begin, end in self.spans) / (slots * self.now)


class TimedRole:
    """A role with slots, in each of which a call takes its time."""

    def __init__(
        self,
        clock: Clock,
        slots: int = 16,
        seconds: Callable[[Ask], float] = lambda ask: 0.1,
        says: Callable[[Ask], str] = said,
        family: str = "timed",
    ) -> None:
        self.family = self.model = self.identity = family
        self.clock, self.slots = clock, slots
        self.seconds, self.says = seconds, says
        self.asked: list[str] = []

    def ask(self, asks, on_reply=None):
        return ask_all(self, asks, on_reply)

    def asking(self, emit):
        return _TimedAsking(self, emit)


class _TimedAsking:
    def __init__(self, role: TimedRole, emit) -> None:
        self.role, self.slots, self.emit = role, role.slots, emit
        self.waiting: list = []
        self.open = 0

    def add(self, index, ask, order) -> None:
        heapq.heappush(self.waiting, (order, index, ask))
        self.fill()

    def fill(self) -> None:
        while self.waiting and self.open < self.slots:
            _, index, ask = heapq.heappop(self.waiting)
            self.open += 1
            self.role.asked.append(ask.key)
            self.role.clock.begin(self.role.seconds(ask), lambda i=index, a=ask: self.end(i, a))

    def end(self, index, ask) -> None:
        self.open -= 1
        text = self.role.says(ask)
        self.emit((index, Reply(text, "stop", len(str(ask.messages)), len(text))))
        self.fill()

    def work(self) -> bool:
        return self.role.clock.step()

    def stop(self) -> None:
        self.emit(End())

    def cancel(self) -> None:
        self.waiting.clear()


def timed_pipeline(charter, attacks, path, roles, occupancy=None, **settings) -> Pipeline:
    """A pipeline of timed roles on the ledger at `path`."""
    config = SynthesisConfig(**{"critic_form": "simple", **settings})
    limits = Limits(config.attempts, config.per_cell, config.cell_attempts, config.wave)
    suite = AttackSuite(charter, attacks, (), charter.subdomains(False), ("en",), (2,))
    return Pipeline(
        config,
        suite,
        CellGroup(suite.cells()),
        limits,
        roles=roles,
        ledger=Ledger(path),
        occupancy=occupancy,
    )


def decisions(ledger: Ledger) -> list[dict]:
    """All attempts, but for when they were made and how long they took."""
    return [
        {name: value for name, value in row.items() if name not in ("created", "seconds", "key")}
        for row in ledger.attempts()
    ]
