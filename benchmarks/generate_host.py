"""How much of a decode step the device waits for the host."""

import time

import jax
import numpy as np

from benchmarks.generate_work import Work
from vcjax.generate.cache import DecodeState
from vcjax.generate.engine import Engine
from vcjax.generate.scheduler import SlotTable


def device_step_seconds(engine: Engine, work: Work) -> float:
    """Seconds of a decode step, on average, when nothing is done between the programs.

    The same programs as the engine's, at the lengths that `work` reaches, called one after the
    other; the host neither reads tokens nor prepares anything for them.

    Args:
      work: requests of equal length, as many as the engine has slots.
    """
    state = DecodeState(engine.layout, engine.slots, 0)
    batch = SlotTable(engine.slots, engine.config.vocab_size).batch()
    first = work.shared + work.prompt
    state.fit(first + 1, empty=True)
    begun, tokens = 0.0, None
    for number in range(work.new):
        if number == 1:  # the first step waits for the memory that was made
            jax.block_until_ready(tokens)
            begun = time.perf_counter()
        state.fit(first + number + 1, empty=False)
        tokens = state.sample(batch, 0).tokens
        state.decode(engine.params, tokens, np.full((engine.slots,), first + number, np.int32))
    jax.block_until_ready(state.sample(batch, 0).tokens)
    return (time.perf_counter() - begun) / (work.new - 1)
