"""Attempts side by side: each goes on as its replies come, and what it shares with others is
decided in their order.

    begin() --> a wave's attempts --> their calls, of all attempts at once --> a reply
                                            ^                                   |
                                            +------- the attempt's next step <--+
    all of a wave have opened --> on_opened, in the order of waves
    all of a wave have ended  --> on_decided, in the order of waves

What depends on what, so that a run is a function of its seed whatever the order of replies:

- *Which attempts are made* depends on the verdicts of earlier waves, where cells have quotas; else
  on nothing. `begin` returns None where it depends on a wave that hasn't ended; see
  `vcjax.adversarial.wave_plan`.
- *Which query opens an attempt* depends on the openings of all waves before (none is asked twice),
  and on what the attempts of its own wave have taken: these decide in turns, each a step in the
  order of their numbers. That ends with `Opened`, after the first query.
- *All else* (refinements, later turns, answers, verdicts) depends on the attempt's own replies
  alone. A query that is refined may so repeat another one: that is found when both are decided.

So the Attacker writes for waves to come while earlier attempts are answered and judged; what it
wrote waits there until the waves before have opened.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vcjax.adversarial.calls import Call, Caller, CallQueue, Opened, Steps
from vcjax.roles.role import Reply

T = TypeVar("T")

_MOST_BEGUN = 8
"""Undecided attempts for each slot. More would fill no further slot: they'd wait for openings."""


@dataclass(eq=False)
class _Running(Generic[T]):
    """An attempt that has begun.

    Attributes:
      turn: how many steps it has taken.
      replies: to the calls of its last step; `missing` of them are still to come.
      opening: the query that it opens with; None while that isn't decided.
      results: has its result once it has ended.
    """

    order: tuple[int, int]
    steps: Steps[T]
    turn: int = 0
    replies: list[Reply] = field(default_factory=list)
    missing: int = 0
    opening: str | None = None
    results: list[T] = field(default_factory=list)


@dataclass(eq=False)
class _Wave(Generic[T]):
    attempts: list[_Running[T]]
    opened: bool = False

    def next_to_open(self) -> _Running[T] | None:
        """Whose turn it is among the attempts that haven't opened; None if all have."""
        waiting = (each for each in self.attempts if each.opening is None)
        return min(waiting, key=lambda each: (each.turn, each.order), default=None)

    @property
    def decided(self) -> bool:
        return self.opened and all(each.results for each in self.attempts)


def run_waves(
    caller: Caller,
    begin: Callable[[], Sequence[Steps[T]] | None],
    *,
    on_opened: Callable[[list[str]], None],
    on_decided: Callable[[list[T]], None],
) -> None:
    """Runs wave after wave, several at a time where that is possible.

    Args:
      begin: makes the attempts of the next wave; None where there is none before another one is
        decided, or at all.
      on_opened: is given the openings of each wave, in the order of its attempts; an empty text
        where nothing is asked.
      on_decided: is given the results of each wave, in the order of its attempts.
    """
    with caller.opened() as calls:
        _Runner(calls, begin, on_opened, on_decided).run()
        calls.finish()


def run_together(scripts: Sequence[Steps[T]], caller: Caller) -> list[T]:
    """Runs scripts that share nothing; returns their results in their order."""
    results: list[T] = []
    waves: Iterator[list[Steps[T]]] = iter([[_apart(script) for script in scripts]])
    run_waves(
        caller,
        lambda: next(waves, None),
        on_opened=lambda openings: None,
        on_decided=results.extend,
    )
    return results


def _apart(script: Steps[T]) -> Steps[T]:
    yield Opened("")
    return (yield from script)


class _Runner(Generic[T]):
    def __init__(
        self,
        calls: CallQueue,
        begin: Callable[[], Sequence[Steps[T]] | None],
        on_opened: Callable[[list[str]], None],
        on_decided: Callable[[list[T]], None],
    ) -> None:
        self._calls, self._begin = calls, begin
        self._on_opened, self._on_decided = on_opened, on_decided
        self._waves: deque[_Wave[T]] = deque()
        self._begun = 0
        self._may_begin = True

    def run(self) -> None:
        self._begin_waves()
        while self._waves:
            (attempt, position), reply = self._calls.next()
            attempt.replies[position] = reply
            attempt.missing -= 1
            if attempt.missing == 0 and attempt.opening is not None:
                self._advance(attempt)
            self._settle()
            self._begin_waves()

    def _begin_waves(self) -> None:
        """Begins waves while slots are free."""
        while self._may_begin and self._is_short():
            scripts = self._begin()
            if scripts is None:
                self._may_begin = False  # until another one is decided
                return
            wave = _Wave([_Running((self._begun, n), steps) for n, steps in enumerate(scripts)])
            self._begun += 1
            self._waves.append(wave)
            # Nothing is decided in a first step, so it needn't wait for earlier waves.
            for attempt in wave.attempts:
                self._advance(attempt)
            self._settle()

    def _is_short(self) -> bool:
        """Whether there are fewer calls than could be under way."""
        if not self._waves:
            return True
        undecided = sum(len(wave.attempts) for wave in self._waves)
        return self._calls.has_room and undecided < _MOST_BEGUN * self._calls.slots

    def _settle(self) -> None:
        """Takes the steps whose turn has come, and reports the waves that have opened and ended."""
        for wave in self._waves:
            if not wave.opened and not self._open(wave):
                break
        while self._waves and self._waves[0].decided:
            wave = self._waves.popleft()
            self._on_decided([result for each in wave.attempts for result in each.results])
            self._may_begin = True

    def _open(self, wave: _Wave[T]) -> bool:
        """Whether a wave has opened, after the steps that its attempts could take towards it."""
        while (attempt := wave.next_to_open()) is not None:
            if attempt.missing:
                return False
            self._advance(attempt)
        wave.opened = True
        self._on_opened([each.opening or "" for each in wave.attempts])
        return True

    def _advance(self, attempt: _Running[T]) -> None:
        """Takes an attempt's next step: to its next calls, or its end."""
        calls: list[Call] = []
        try:
            step = attempt.steps.send(attempt.replies) if attempt.turn else next(attempt.steps)
            # Once it has opened, it waits for no other attempt.
            while isinstance(step, Opened) or (not step and attempt.opening is not None):
                if isinstance(step, Opened):
                    attempt.opening = step.text
                step = attempt.steps.send([])
            calls = step
        except StopIteration as end:
            attempt.results.append(end.value)
            attempt.opening = attempt.opening or ""
        attempt.turn += 1
        attempt.replies, attempt.missing = [_NONE] * len(calls), len(calls)
        for position, call in enumerate(calls):
            self._calls.add((attempt, position), call, attempt.order)


_NONE = Reply("", "", 0, 0)
"""In the place of a reply that is still to come."""
