"""The room of an engine: what fits and no less, beside what is given."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.generate.cache import BLOCK, MIN_WINDOW, state_bytes
from vcjax.generate.layout import ModelLayout
from vcjax.generate.room import MOST_SLOTS, TYPICAL, Room, device_memory, plan_room, reported_memory

LONGEST = 9000
PREFIXES = 64


@pytest.fixture(scope="module")
def layout(tiny) -> ModelLayout:
    return ModelLayout(replace(tiny.config, max_position=LONGEST), jnp.dtype("bfloat16"))


def test_what_is_given_is_taken_and_a_model_s_maximum_bounds_it(layout):
    assert plan_room(layout, 0, prefix_tokens=0, slots=3, context=500) == Room(3, 500)
    assert plan_room(layout, 0, prefix_tokens=0, slots=3, context=LONGEST + 1) == Room(3, LONGEST)


def test_as_much_as_fits_is_taken_and_no_more(layout):
    least = state_bytes(layout, 1, MIN_WINDOW, PREFIXES)

    @given(st.floats(1, 10_000), st.sampled_from([0, 2, 16]), st.sampled_from([0, 700]))
    def fits(factor: float, slots: int, context: int) -> None:
        memory = int(factor * least)
        room = plan_room(layout, memory, prefix_tokens=PREFIXES, slots=slots, context=context)
        assert 1 <= room.slots <= MOST_SLOTS
        assert room.context <= LONGEST
        if slots and context:
            return
        taken = state_bytes(layout, room.slots, room.context, PREFIXES)
        assert taken <= memory or room == Room(slots or 1, context or MIN_WINDOW)
        if not slots:
            more = room.slots + (8 if room.slots >= 8 else 1)
            tokens = context or TYPICAL
            assert room.slots == MOST_SLOTS or state_bytes(layout, more, tokens, PREFIXES) > memory
        if not context:
            more = room.context + BLOCK
            assert room.context == LONGEST or (
                state_bytes(layout, room.slots, more, PREFIXES) > memory
            )

    fits()


def test_a_cpu_has_the_machine_s_memory_and_reports_none():
    devices = jax.local_devices()[:1]
    assert reported_memory(devices) is None
    assert device_memory(devices) > 2**30
