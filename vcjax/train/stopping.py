"""What ends a run before its last step: no lower validation loss, updates that had to be skipped
once too often, or a signal.

The first two are rules over what the run has logged and over nothing else, so that a run that is
continued ends at the same step as one that was never interrupted.
"""

import math
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

from vcjax.core.errors import GateNotMet

_NOTICE = b"\nsaving and stopping after this step; Ctrl-C again stops at once\n"


@dataclass
class EarlyStopping:
    """Ends a run after `patience` measurements in a row without a loss below all earlier ones.

    A loss that isn't finite is never the lowest.

    Attributes:
      patience: 0 never ends a run.
      best_step, best_loss: of the lowest loss so far, the first of equals; None before any.
      stopped: the step at which the run ends early, or None.
    """

    patience: int
    best_step: int | None = None
    best_loss: float | None = None
    stopped: int | None = None
    _without: int = 0

    @classmethod
    def after(cls, patience: int, measured: Iterable[tuple[int, float | None]]) -> "EarlyStopping":
        """The state of a run that has measured these (step, loss) so far."""
        stopping = cls(patience)
        for step, loss in measured:
            stopping.add(step, loss)
        return stopping

    def add(self, step: int, loss: float | None) -> None:
        """Takes the next measurement; None is a loss that was not finite.

        Raises:
          ValueError: the run has stopped.
        """
        if self.stopped is not None:
            raise ValueError(f"measured at step {step}, but the run stopped at {self.stopped}")
        lowest = math.inf if self.best_loss is None else self.best_loss
        if loss is not None and loss < lowest:
            self.best_step, self.best_loss, self._without = step, loss, 0
            return
        self._without += 1
        if self.patience and self._without >= self.patience:
            self.stopped = step


class SkipGuard:
    """Ends a run that doesn't recover from losses or gradients that aren't finite.

    Args:
      max_skipped: this number of skipped updates in a row is allowed, one more ends the run.
      earlier: metrics of an earlier start, in order, so that the count continues over a resume.
      done: the steps that the run resumes from; lines beyond them don't count, as those steps are
        done again.
    """

    def __init__(
        self, max_skipped: int, earlier: Iterable[dict[str, Any]] = (), done: int = 0
    ) -> None:
        self._max_skipped = max_skipped
        self._in_a_row = 0
        for line in earlier:
            if line["step"] <= done:
                self._count(line)

    def check(self, line: dict[str, Any]) -> None:
        """Takes the metrics of the next step: `step, skipped, loss, grad_norm`.

        Raises:
          GateNotMet: one skipped update too many.
        """
        self._count(line)
        if self._in_a_row > self._max_skipped:
            first = line["step"] - self._in_a_row + 1
            steps = f"step {first}" if first == line["step"] else f"steps {first}-{line['step']}"
            raise GateNotMet(
                f"step {line['step']}: loss {line['loss']}, gradient norm {line['grad_norm']}; "
                f"{self._in_a_row} update(s) in a row were skipped, config.max_skipped is "
                f"{self._max_skipped}; lower config.learning_rate or look at the data of {steps}"
            )

    def _count(self, line: dict[str, Any]) -> None:
        self._in_a_row = self._in_a_row + 1 if line["skipped"] else 0


@contextmanager
def stop_requests() -> Iterator[Callable[[], signal.Signals | None]]:
    """Yields `requested()`: the signal that asks to save now and to end, if any.

    Every process must call it at the same points, such as after every step. A single
    process gets its own signals, at any time since the block began; the earlier handlers are back
    when the block ends. Several processes end at one call that they agree upon, a few calls after
    any of them got a signal: JAX's preemption service, which `jax.distributed.initialize` starts
    and which takes SIGTERM for itself, settles it (`reached_preemption_sync_point`); a Ctrl-C is
    passed on to it as a SIGTERM. The second Ctrl-C is a `KeyboardInterrupt`.
    """
    several = jax.process_count() > 1
    received: list[signal.Signals] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if received:
                raise KeyboardInterrupt
            os.write(2, _NOTICE)  # `print` isn't to be entered again from a handler
            if several:
                os.kill(os.getpid(), signal.SIGTERM)
        received.append(signal.Signals(number))

    # The service's number of a step. Not the run's: DPO's reference pass asks too, before step 1.
    calls = count(1)

    def requested() -> signal.Signals | None:
        if several and multihost_utils.reached_preemption_sync_point(next(calls)):
            return received[0] if received else signal.SIGTERM
        return received[0] if received and not several else None

    if threading.current_thread() is not threading.main_thread():
        yield requested  # Python lets only the main thread handle signals
        return
    handled = (signal.SIGINT,) if several else (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in handled}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
