"""How far a long step is: a bar on a terminal, plain lines in a log file."""

import math
import sys
import threading
import time
from collections.abc import MutableMapping
from typing import Any

from tqdm import tqdm

LOG_PAUSE = 15.0
"""Seconds between two lines of a step in a log. A step that is over sooner has none."""
_TICK = 1.0
"""Seconds between two drawings of a bar on a terminal."""
LONGEST_PAUSE = 60.0
"""A step of hours has a line a minute."""
_FIRST_LINE = "{desc}: {n_fmt} of {total_fmt}{unit} ({percentage:.0f}%), {elapsed} so far{postfix}"
_LINE = _FIRST_LINE.replace("{postfix}", ", {remaining} left{postfix}")
_OPEN_LINE = "{desc}: {n_fmt}{unit}, {elapsed} so far{postfix}"


class Tokens:
    """What the local models of this process have been asked for and have written, in tokens.

    Answers that are written side by side end nearly together, so for minutes a count of them says
    nothing; these counts move with every step of an engine.

    Attributes:
      asked: the most that the asks so far may take; of those that have ended, what they took.
      written: of them, so far.
    """

    def __init__(self) -> None:
        self.asked = self.written = 0


TOKENS = Tokens()
"""Of this process: a bar shows what has been added while it was open."""


def times(so_far: float, left: float | None) -> str:
    """Seconds as a log has them: `05:10 so far, 1:20:00 left`, or without what isn't known."""
    shown = f"{tqdm.format_interval(so_far)} so far"
    return shown if left is None else f"{shown}, {tqdm.format_interval(left)} left"


class Progress(tqdm):
    """A bar of tqdm, which in a log is lines instead: what is done, how far, how long it will take.

    It shows the time also while nothing moves, as when a program is compiled: from a thread.
    """

    def __init__(self, *, desc: str, total: float | None, unit: str = "", **options: Any) -> None:
        """Args: see tqdm; `unit` is a plural, such as `steps`, or `B` with `unit_scale`."""
        stream = options.setdefault("file", sys.stderr)
        self._log = not stream.isatty()
        self._shown, self._over = False, threading.Event()
        self._asked, self._written = TOKENS.asked, TOKENS.written
        if self._log:
            options |= {"delay": LOG_PAUSE, "mininterval": LOG_PAUSE, "miniters": 1}
        # tqdm writes units without a space before them.
        unit = f" {unit}" if unit and unit != "B" else unit
        super().__init__(desc=desc, total=total, unit=unit, **options)
        if not self.disable and LOG_PAUSE:
            threading.Thread(target=self._show_time, daemon=True).start()

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        """What a bar or line is made of; see tqdm. With the tokens that local models have written,
        where there are some."""
        values = super().format_dict
        asked, written = TOKENS.asked - self._asked, TOKENS.written - self._written
        if written > 0:
            shown = f"{written:,} of at most {asked:,} tokens written"
            values["postfix"] = "; ".join(filter(None, (values["postfix"], shown)))
        return values

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draws the bar, or writes a line."""
        if not self._log:
            return bool(super().display(msg, pos))
        if msg is None:
            self._shown = True
            if not self.total:
                self.bar_format = _OPEN_LINE
            else:  # before the first of them has ended nothing is known of the others
                self.bar_format = _LINE if self.n > self.initial else _FIRST_LINE
            self.fp.write(f"{self}\n")
            self.fp.flush()
        return True

    def update(self, n: float | None = 1) -> bool | None:
        """Counts; in a log the pause between two lines grows to LONGEST_PAUSE."""
        if self._log and not self.disable:
            self.mininterval = self._pause()
        return super().update(n)

    def moved(self) -> None:
        """Redraws a bar whose description has changed, if it is old enough."""
        if not self._log and time.time() - self.last_print_t >= self.mininterval:
            self.refresh()
            self.last_print_t = time.time()

    def close(self) -> None:
        """Ends the bar; in a log a step that had lines gets a last one."""
        self._over.set()
        if self._log and not self.disable:
            if self._shown and self.last_print_n != self.n:
                self.display()
            self.delay = math.inf  # so that tqdm clears nothing
        super().close()

    def _pause(self) -> float:
        elapsed = time.time() - self.start_t
        # A tenth of the time so far, so that lines become rarer as a step turns out to be long.
        return min(max(LOG_PAUSE, elapsed / 10), LONGEST_PAUSE) if LOG_PAUSE else 0

    def _show_time(self) -> None:
        while not self._log and not self._over.wait(_TICK):
            self.refresh()
        while not self._over.wait(self._pause()):
            if time.time() - self.last_print_t >= LOG_PAUSE:
                self.refresh()
                self.last_print_t, self.last_print_n = time.time(), self.n
