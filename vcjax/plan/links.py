"""How long a device waits, at best, for what other devices send it in a step."""

import jax.numpy as jnp

from vcjax.core.hardware import Hardware
from vcjax.model.flops import parameters
from vcjax.plan.setting import Setting

LINKS = 0.8
"""Assumed share of the links' peak."""


def link_seconds(setting: Setting, hardware: Hardware) -> float:
    """Seconds of a step's collectives, none of them hidden behind anything.

    Rings: an all-gather or reduce-scatter over n devices brings each (n - 1) / n of the whole, an
    all-reduce twice that. The axes of a mesh share a device's links evenly.
    """
    used = [axis for axis, size in setting.mesh.shape.items() if size > 1]
    if not used:
        return 0.0
    count = {axis: setting.mesh.shape[axis] for axis in ("data", "fsdp", "tensor", "sequence")}
    config, model = setting.config, setting.model
    size = jnp.dtype(config.dtype).itemsize
    whole = parameters(model) / count["tensor"]
    trained = parameters(model, config.adapters) / (1 if config.adapters else count["tensor"])
    times = config.microbatches
    tokens = setting.local_tokens
    again = config.remat == "full"

    near = hardware.interconnect / len(used)
    if setting.topology.platform == "tpu" and not setting.topology.torus:
        near /= 2  # a corner of the slice has half of the links
    far = near
    if hardware.node and setting.topology.devices > hardware.node:
        # The GPUs of a node share what comes in over their network cards.
        far = min(near, hardware.node * hardware.network / len(used))

    def ring(axis: str) -> float:
        return 1 - 1 / count[axis]

    # Weights come once for the forward pass and once for the backward pass, in which they are
    # used for what is computed again too.
    gathered = 2 * times * whole * size * ring("fsdp")
    reduced = times * trained * 4 * ring("fsdp")
    copies = 2 * trained / count["fsdp"] * 4 * (ring("data") + ring("sequence"))
    streams = 2 * (5 if again else 4) * model.num_layers * tokens * model.hidden_size * size
    keys = 2 * setting.local("kv_heads", model.num_kv_heads) * model.head_dim
    rows = tokens * count["sequence"]
    seen = (4 if again else 3) * model.num_layers * rows * keys * size * ring("sequence")
    return (gathered + reduced + copies + seen) / (LINKS * far) + streams * ring("tensor") / (
        LINKS * near
    )
