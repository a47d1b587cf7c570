"""How fast a run is: tokens and operations a second, the share of the peak, the wait for data; and
a profile of a few steps, to be read in XProf or Perfetto."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from vcjax.core.hardware import hardware_of
from vcjax.model.config import LlamaConfig
from vcjax.model.flops import step_flops
from vcjax.parallel import is_main_process
from vcjax.train.config import TrainConfig

PROFILE = "profile"
_SIDE = 2048  # of the square matrices whose matmul is timed on a CPU
_MEASURED_S = 0.5

T = TypeVar("T")


def run_flops(model: LlamaConfig, config: TrainConfig) -> float:
    """Floating-point operations of the matmuls of a whole step, on all devices.

    Those of the model's rows, padding included, with causal attention over whole rows; what
    remat computes again doesn't count (model FLOPs: Chowdhery et al., arXiv 2204.02311, app. B).
    """
    return step_flops(model, config.rows, config.length, config.adapters)


def peak_flops(dtype: str) -> float | None:
    """FLOP/s of matmuls that all devices together can reach; None where it isn't known.

    An accelerator's is its data sheet's, in bfloat16 whatever `dtype` is. A CPU's is measured, in
    `dtype`, and is that of the whole machine: its devices share the cores.
    """
    device = jax.devices()[0]
    if device.platform == "cpu":
        return _measured_peak(dtype) * jax.process_count()
    known = hardware_of(device.device_kind)
    return None if known is None else known.flops * jax.device_count()


@cache
def _measured_peak(dtype: str) -> float:
    """FLOP/s of the fastest of several matmuls of square matrices, found in about a second."""
    matrix = jnp.ones((_SIDE, _SIDE), jnp.dtype(dtype))
    matmul = jax.jit(jnp.matmul)
    matmul(matrix, matrix).block_until_ready()  # compiles
    # The fastest: whatever else runs on the machine can only make it slower.
    fastest, until = float("inf"), time.perf_counter() + _MEASURED_S
    while True:
        start = time.perf_counter()
        matmul(matrix, matrix).block_until_ready()
        fastest = min(fastest, (end := time.perf_counter()) - start)
        if end > until:
            return 2 * _SIDE**3 / fastest


class Clock:
    """Wall-clock seconds of the loop, step by step; those of measurements and saves apart."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._waited = self._paused = 0.0

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; the time until each is there counts as waiting for data."""
        source = iter(batches)
        while True:
            start = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs in the block is no part of a step."""
        start = time.perf_counter()
        yield
        self._paused += time.perf_counter() - start

    def lap(self) -> tuple[float, float]:
        """(seconds, those of them waited for data) since the last call, pauses left out."""
        now = time.perf_counter()
        seconds, waited = now - self._begun - self._paused, self._waited
        self._begun, self._waited, self._paused = now, 0.0, 0.0
        return seconds, waited


def speeds(
    tokens: int, seconds: float, waited: float, flops: float, peak: float | None
) -> dict[str, Any]:
    """The part of a step's line that is about its speed.

    Returns:
      `seconds`, `tokens_per_second`, `flops_per_second`, `data_wait` (share of the seconds that
      the loop waited for its batch) and, where the peak is known, `peak_share`.
    """
    rate = flops / seconds
    line = {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "flops_per_second": rate,
        "data_wait": waited / seconds,
    }
    return line if peak is None else {**line, "peak_share": rate / peak}


@contextmanager
def profiled(workdir: Path, first: int, last: int) -> Iterator[Callable[[int, Any], None]]:
    """Writes a `jax.profiler` trace of the steps `first` to `last` into `workdir/profile`.

    The first step of a start compiles, so `first` should be a later one. Yields `at(step, arrays)`,
    to be called before the loop with the steps that are done, and after each step with its
    results: the trace begins and ends where they are computed. A run that ends before `last` ends
    the trace. Where several processes train, the main one writes that of its own devices.
    """
    tracing = False

    def at(step: int, arrays: Any) -> None:
        nonlocal tracing
        if step == first - 1 and is_main_process():
            # Steps are dispatched before they are computed: what is pending belongs before it.
            jax.block_until_ready(arrays)
            jax.profiler.start_trace(workdir / PROFILE)
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
