"""How much of a decode step the device waits for the host."""

import time

import jax
import numpy as np

from benchmarks.generate_work import Work
from vcjax.generate.engine import Engine
from vcjax.generate.memory import Memory
from vcjax.generate.placing import Placing
from vcjax.generate.slots import Table


def device_step_seconds(engine: Engine, placing: Placing, work: Work) -> float:
    """Seconds of a decode step, on average, when nothing is done between the programs.

    The same programs as the engine's, with rows as long as those of `work` become, called one
    after the other; the host neither looks at tokens nor prepares anything for them.

    Args:
      placing: how the engine holds its parameters.
      work: requests of equal length, as many as the engine has slots.
    """
    memory = Memory(placing, engine.slots, 0)
    settings = Table(engine.slots, engine.config.vocab_size).settings()
    first = work.shared + work.prompt
    memory.fit(first + 1, empty=True)
    begun, tokens = 0.0, None
    for number in range(work.new):
        if number == 1:  # the first step waits for the memory that was made
            jax.block_until_ready(tokens)
            begun = time.perf_counter()
        memory.fit(first + number + 1, empty=False)
        tokens = memory.draw(settings, 0).tokens
        memory.extend(engine.params, tokens, np.full((engine.slots,), first + number, np.int32))
    jax.block_until_ready(memory.draw(settings, 0).tokens)
    return (time.perf_counter() - begun) / (work.new - 1)
