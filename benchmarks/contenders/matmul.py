"""Every matrix product of a training step at its real shape, and nothing else: the limit.

Generous to the limit, so that no step is held up by the form of its products alone:

- each product runs in the layout of its operands that is fastest here, tried out while setting up;
- activations, gradients and results have one buffer for each shape, which may stay in the cache;
  only weights are read from memory, another one in each layer;
- attention has its products alone, without masks or transposes (see `step_multiplications`).
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

from benchmarks.multiplications import Multiplication, step_multiplications
from benchmarks.serve import Contender, serve
from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig

TRIES = 3  # of a layout; the fastest counts

LAYOUTS = {"plain": (1, 0), "second transposed": (1, 1), "first transposed": (0, 0)}
"""The axis of either factor over which products are summed, by the layout in memory."""


def setup(asked: dict[str, Any]) -> Contender:
    """Args: `config` of `TrainConfig`, whose model is a Hugging Face folder."""
    config, dtype = asked["config"], jnp.dtype(asked["config"]["dtype"])
    model = LlamaConfig.from_hf(read_json(Path(config["model"]) / "config.json"))
    return limit(step_multiplications(model, config["batch_size"], config["length"]), dtype)


def limit(multiplications: Iterable[Multiplication], dtype: Any) -> Contender:
    """One whose step is all these multiplications."""
    todo = list(multiplications)
    layouts = {one.name: _fastest_layout(one.shape, dtype) for one in todo}
    runs = [_repeated(one, layouts[one.name], dtype) for one in todo]

    def step() -> None:
        for run in runs:
            run()

    flops = sum(one.flops for one in todo)
    return Contender(step, {"jax": version("jax"), "flops": flops, "layouts": layouts})


@cache
def _fastest_layout(shape: tuple[int, int, int], dtype: Any) -> str:
    once, seconds = Multiplication("tried", *shape, count=1, by_weight=False), {}
    for layout in LAYOUTS:
        run = _repeated(once, layout, dtype)
        run()  # compiles
        seconds[layout] = min(_seconds(run) for _ in range(TRIES))
    return min(seconds, key=seconds.__getitem__)


def _repeated(one: Multiplication, layout: str, dtype: Any) -> Callable[[], None]:
    """What runs all of a multiplication, to the end."""
    axes = LAYOUTS[layout]
    numbers = ((axes[:1], axes[1:]), ((), ()))

    # A result takes the place of the one before it, so they come one after the other.
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
