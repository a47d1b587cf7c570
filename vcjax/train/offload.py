"""The optimiser's state in the host's memory, and on the device only while it is used.

A leaf is held where its sharding says (`pinned_host`); a step fetches it and stores it again.
See https://docs.jax.dev/en/latest/notebooks/host-offloading.html
"""

from collections.abc import Sequence
from typing import Any

import jax

from vcjax.foundation.errors import UserError
from vcjax.train.config import TrainConfig

HOST = "pinned_host"
_DEVICE = "device"


def check_offload(config: TrainConfig, devices: Sequence[Any]) -> None:
    """Checks that a config's `offload` can be had.

    Raises:
      UserError: one of the devices reaches no memory of its host.
    """
    for device in devices if config.offload else ():
        if HOST not in {memory.kind for memory in device.addressable_memories()}:
            raise UserError(
                f"config.offload: {device.platform} devices reach no {HOST} memory here; set it "
                "to False"
            )


def fetch(state: Any, shardings: Any) -> Any:
    """Inside of a compiled step: the state on the device."""
    return _moved(state, shardings, to_host=False)


def store(state: Any, shardings: Any) -> Any:
    """Inside of a compiled step: the state where it is held."""
    return _moved(state, shardings, to_host=True)


def _moved(state: Any, shardings: Any, *, to_host: bool) -> Any:
    def move(leaf: jax.Array, held: jax.sharding.NamedSharding) -> jax.Array:
        if held.memory_kind != HOST:
            return leaf
        return jax.device_put(leaf, held if to_host else held.with_memory_kind(_DEVICE))

    return jax.tree.map(move, state, shardings)
