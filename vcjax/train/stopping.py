"""Early stopping: a rule over the losses measured so far and over nothing else."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class Stopping:
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

    def see(self, step: int, loss: float | None) -> None:
        """Takes the next measurement; None stands for a loss that wasn't finite.

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


def replay(patience: int, measured: Iterable[tuple[int, float | None]]) -> Stopping:
    """The state of a run that has measured these (step, loss) so far, as it was when it ended."""
    stopping = Stopping(patience)
    for step, loss in measured:
        stopping.see(step, loss)
    return stopping
