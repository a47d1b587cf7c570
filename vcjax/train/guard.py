"""Ends a run that doesn't recover from losses or gradients that aren't finite."""

from collections.abc import Iterable
from typing import Any

from vcjax.core.errors import GateNotMet


class SkipGuard:
    """Counts the updates that were skipped in a row.

    Args:
      max_skipped: as many in a row are let pass, the next one ends the run.
      earlier: metrics of an earlier start, in order, so that the row goes on over a resume.
      done: the steps that it resumes from; lines beyond them don't count, as they are done again.
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
