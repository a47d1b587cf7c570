"""The room of an engine: how many slots it has and how long its sequences may be, by its memory."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from vcjax.core.machine import machine_memory
from vcjax.generate.cache import BLOCK, MIN_WINDOW, PREFIX_TOKENS, state_bytes
from vcjax.generate.layout import ModelLayout

TYPICAL = 4096
"""Tokens of a sequence that slots are planned for, where no bound is given."""
SPARE = 0.1
"""Share of the memory that is left to the programs' temporaries and to everything else."""
MOST_SLOTS = 256
"""Beyond these another row adds little to the throughput, and everybody's tokens come slower."""
USUAL_CONTEXT = 2048
"""Tokens that an engine has room for in USUAL_SLOTS slots, if anything else can be unloaded."""
USUAL_SLOTS = 16
"""Slots on a device that doesn't report its memory, such as a CPU: it computes a step's rows one
after the other, so more of them gain little."""
_MULTIPLE = 8
"""Slots beyond these are a multiple of it, as matrix units take rows."""


@dataclass(frozen=True)
class Room:
    """Slots, and the tokens of the longest sequence that each has room for."""

    slots: int
    context: int


def plan_room(
    layout: ModelLayout,
    memory: int,
    *,
    prefix_tokens: int = PREFIX_TOKENS,
    slots: int = 0,
    context: int = 0,
    most_slots: int = MOST_SLOTS,
) -> Room:
    """The room that fits, as far as it isn't given.

    Slots are planned for sequences of `context` tokens, or TYPICAL ones; then the longest sequence
    is what fits in every slot at once. There are always one slot and MIN_WINDOW tokens.

    Args:
      memory: bytes for what an engine keeps beside the parameters; on several devices, of all.
      prefix_tokens: of the pool of prefixes.
      slots, context: 0 is worked out. The model's maximum bounds a given context too.
    """
    longest, needed = layout.config.max_position, partial(state_bytes, layout)
    if not slots:
        tokens = min(context or TYPICAL, longest)
        fit = bisect_right(
            range(1, most_slots + 1), memory, key=lambda n: needed(n, tokens, prefix_tokens)
        )
        slots = max(1, fit if fit < _MULTIPLE else fit // _MULTIPLE * _MULTIPLE)
    if not context:
        fit = bisect_right(
            range(BLOCK, longest + BLOCK, BLOCK),
            memory,
            key=lambda length: needed(slots, length, prefix_tokens),
        )
        context = max(fit * BLOCK, MIN_WINDOW)
    return Room(slots, min(context, longest))


def least_bytes(
    layout: ModelLayout, slots: int, context: int, prefix_tokens: int = PREFIX_TOKENS
) -> int:
    """Bytes of a model and of its engine where other models leave it no share: with the given slots
    and context, else USUAL_SLOTS and USUAL_CONTEXT."""
    tokens = min(context or USUAL_CONTEXT, layout.config.max_position)
    return layout.nbytes + state_bytes(layout, slots or USUAL_SLOTS, tokens, prefix_tokens)


def device_memory(devices: Sequence[Any]) -> int:
    """Bytes of memory of the devices together: a CPU's is what this process may use."""
    return reported_memory(devices) or machine_memory()


def reported_memory(devices: Sequence[Any]) -> int | None:
    """Bytes of memory of the devices together, as they report it; None where one doesn't."""
    known = [device.memory_stats() for device in devices]
    if not all(stats and "bytes_limit" in stats for stats in known):
        return None
    return sum(stats["bytes_limit"] for stats in known)
