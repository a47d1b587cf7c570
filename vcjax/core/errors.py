"""How a run ends other than by success or by an error of ours."""

import difflib
import signal
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user, as one line that names the file, field or line and what to do.

    The launch scripts print it without a traceback and exit with code 2.
    """


class GateNotMet(Exception):
    """The run ended, but a gate, a quota or a bound was not met. Exit code 3."""


class Preempted(Exception):
    """The run was asked to end by a signal, and has saved its work.

    The exit code is 128 + the signal's number: 143 for a SIGTERM, 130 for Ctrl-C.
    """

    def __init__(self, message: str, number: signal.Signals = signal.SIGTERM) -> None:
        super().__init__(message)
        self.number = number


def one_line(error: BaseException) -> str:
    """A library's message, of however many lines, as the end of ours."""
    return " ".join(str(error).split()) or type(error).__name__


def suggest(name: str, options: Iterable[str]) -> str:
    """Returns `"; did you mean 'X'?"` for the closest of `options`, or an empty string."""
    # One suggestion: several would make the line a list to read.
    close = difflib.get_close_matches(name, list(options), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
