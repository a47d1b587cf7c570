"""A profile of a few steps: what each device does when, to be read in XProf or Perfetto."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from vcjax.parallel import leads

FOLDER = "profile"


@contextmanager
def profiled(workdir: Path, first: int, last: int) -> Iterator[Callable[[int, Any], None]]:
    """Writes a `jax.profiler` trace of the steps `first` to `last` into `workdir/profile`.

    The first step of a start compiles, so `first` should be a later one. Yields `at(step, arrays)`,
    to be called before the loop with the steps that are done, and after each step with its
    results: the trace begins and ends where they are computed. A run that ends before `last` ends
    the trace. Where several processes train, the one that leads writes that of its own devices.
    """
    tracing = False

    def at(step: int, arrays: Any) -> None:
        nonlocal tracing
        if step == first - 1 and leads():
            jax.block_until_ready(arrays)
            jax.profiler.start_trace(workdir / FOLDER)
            tracing = True
        elif step == last and tracing:
            jax.block_until_ready(arrays)
            jax.profiler.stop_trace()
            tracing = False

    try:
        yield at
    finally:
        if tracing:
            jax.profiler.stop_trace()
