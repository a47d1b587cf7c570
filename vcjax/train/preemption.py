"""Preemption: a SIGTERM asks a run to save and to end, on all hosts at the same step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import jax
from jax.experimental import multihost_utils


@contextmanager
def watched() -> Iterator[Callable[[int], bool]]:
    """Yields `requested(step)`: whether to save after this step, and to end.

    Every process must ask after every step, with the number of steps that are done. A single
    process hears its own SIGTERM, at any time since the block began; the earlier handler is back
    when the block ends. Several processes end at one step that they agree upon, a few steps after
    any of them got a SIGTERM: JAX's preemption service, which `jax.distributed.initialize` starts
    and which takes the signal for itself, settles it (`reached_preemption_sync_point`).
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
    elif threading.current_thread() is not threading.main_thread():
        yield lambda step: False  # Python lets only the main thread handle signals
    else:
        asked = threading.Event()

        def note(_signal: int, _frame: FrameType | None) -> None:
            asked.set()

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield lambda step: asked.is_set()
        finally:
            signal.signal(signal.SIGTERM, before)
