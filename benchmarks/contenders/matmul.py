"""Every matmul of a training step or of a prefill at its real shape, and nothing else: the limit.

The limit is generous, so that no layout of operands makes it slower than it could be:

- each matmul runs in the layout of its operands that is fastest on this machine, which is found
  during setup;
- activations, gradients and results have one buffer per shape, which may stay in the cache; only
  weights are read from memory, another one for each layer;
- attention is its matmuls alone, without masks or transposes (see `step_matmuls`).
"""

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from benchmarks.matmuls import RepeatedMatmul, prefill_matmuls, step_matmuls
from benchmarks.serve import Contender, serve
from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig

TRIES = 3  # of a layout; the fastest counts

LAYOUTS = {"plain": (1, 0), "second transposed": (1, 1), "first transposed": (0, 0)}
"""The contracted axis of either factor, by the layout in memory."""


def setup(asked: dict[str, Any]) -> Contender:
    """Args: for a training step `config`, fields of `TrainConfig` whose model is a Hugging Face
    folder; for a prefill `model`, a folder, and `batch` prompts of `length` tokens in `dtype`."""
    sizes = asked.get("config", asked)
    model = LlamaConfig.from_hf(read_json(Path(sizes["model"]) / "config.json"))
    if "config" in asked:
        matmuls = step_matmuls(model, sizes["batch_size"], sizes["length"])
    else:
        matmuls = prefill_matmuls(model, sizes["batch"], sizes["length"])
    return limit(matmuls, jnp.dtype(sizes["dtype"]))


def limit(matmuls: Iterable[RepeatedMatmul], dtype: Any) -> Contender:
    """A contender whose step is all these matmuls."""
    todo = list(matmuls)
    layouts = {one.name: _fastest_layout(one.shape, dtype) for one in todo}
    runs = [_repeated(one, layouts[one.name], dtype) for one in todo]

    def step() -> None:
        for run in runs:
            run()

    flops = sum(one.flops for one in todo)
    return Contender(step, {"jax": version("jax"), "flops": flops, "layouts": layouts})


@cache
def _fastest_layout(shape: tuple[int, int, int], dtype: Any) -> str:
    once, seconds = RepeatedMatmul("tried", *shape, count=1, by_weight=False), {}
    for layout in LAYOUTS:
        run = _repeated(once, layout, dtype)
        run()  # compiles
        seconds[layout] = min(_seconds(run) for _ in range(TRIES))
    return min(seconds, key=seconds.__getitem__)


def _repeated(one: RepeatedMatmul, layout: str, dtype: Any) -> Callable[[], None]:
    """A function that runs all repetitions of a matmul and waits for the last result."""
    axes = LAYOUTS[layout]
    numbers = ((axes[:1], axes[1:]), ((), ()))

    # A result overwrites the one before it, so the repetitions run one after the other.
    @partial(jax.jit, donate_argnums=2, keep_unused=True)
    def multiply(first: Array, second: Array, result: Array) -> Array:
        return jax.lax.dot_general(first, second, numbers)

    first = jnp.ones((one.rows, one.inner) if axes[0] else (one.inner, one.rows), dtype)
    shape = (one.columns, one.inner) if axes[1] else (one.inner, one.columns)
    seconds = [jnp.ones(shape, dtype) for _ in range(one.count if one.by_weight else 1)]
    result = jnp.ones((one.rows, one.columns), dtype)

    def run() -> None:
        nonlocal result
        for number in range(one.count):
            result = multiply(first, seconds[number % len(seconds)], result)
        result.block_until_ready()

    return run


def _seconds(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    serve(setup)
