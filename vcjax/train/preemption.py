"""Preemption: a SIGTERM or Ctrl-C asks a run to save and to end, on all hosts at the same step."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import jax
from jax.experimental import multihost_utils

_NOTICE = b"\nsaving and stopping after this step; Ctrl-C again stops at once\n"


@contextmanager
def watched() -> Iterator[Callable[[int], signal.Signals | None]]:
    """Yields `requested(step)`: the signal that asks to save after this step and to end, if any.

    Every process must ask after every step, with the number of steps that are done. A single
    process hears its own signals, at any time since the block began; the earlier handlers are back
    when the block ends. Several processes end at one step that they agree upon, a few steps after
    any of them got a signal: JAX's preemption service, which `jax.distributed.initialize` starts
    and which takes SIGTERM for itself, settles it (`reached_preemption_sync_point`); a Ctrl-C is
    passed on to it as a SIGTERM. The second Ctrl-C is a `KeyboardInterrupt`.
    """
    several = jax.process_count() > 1
    asked: list[signal.Signals] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if asked:
                raise KeyboardInterrupt
            os.write(2, _NOTICE)  # `print` isn't to be entered again from a handler
            if several:
                os.kill(os.getpid(), signal.SIGTERM)
        asked.append(signal.Signals(number))

    def requested(step: int) -> signal.Signals | None:
        if several and multihost_utils.reached_preemption_sync_point(step):
            return asked[0] if asked else signal.SIGTERM
        return asked[0] if asked and not several else None

    if threading.current_thread() is not threading.main_thread():
        yield requested  # Python lets only the main thread handle signals
        return
    heard = (signal.SIGINT,) if several else (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
