"""How much room the cache's rows have."""

from dataclasses import replace

import jax.numpy as jnp
from hypothesis import given
from hypothesis import strategies as st

from vcjax.generate.memory import Memory
from vcjax.generate.placing import Placing
from vcjax.generate.prefixes import BLOCK

LONGEST = 9000


def test_rooms_are_few_and_not_much_too_large(tiny):
    placing = Placing(replace(tiny.config, max_position=LONGEST), jnp.dtype("float32"))
    memory = Memory(placing, 2, 0)

    @given(st.integers(1, LONGEST))
    def holds(length: int) -> None:
        room = memory.window(length)
        assert length <= room <= max(256, 1.5 * length)
        assert room % BLOCK == 0
        assert memory.window(room) == room

    holds()
    rooms = {memory.window(length) for length in range(1, LONGEST + 1)}
    assert rooms == {128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 9024}
