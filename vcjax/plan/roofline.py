"""How long a step takes, at best: a roofline of operations, memory and links.

What is counted comes from the shapes of the model's matrix products (`vcjax.model.flops`); the
rates are the vendors' peaks times the shares below, which are assumptions, not measurements.
Source of the method: Williams et al., doi 10.1145/1498765.1498785, with links as a third roof.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from vcjax.core.hardware import Hardware
from vcjax.model.flops import Product, forward_products, step_flops
from vcjax.plan.links import link_seconds
from vcjax.plan.memory import State, host_bytes
from vcjax.plan.setting import Setting

PRODUCTS, MEMORY = 0.75, 0.8
"""Assumed shares of the peaks that matrix products and memory reach."""

HOST_RATE = 16e9
"""Assumed between a device and its host's memory, one way, bytes/s: PCIe 4.0's for eight lanes."""

FULL_FLOAT32 = 0.5
"""Assumed rate of float32 products on GPUs (TF32), against bfloat16; TPUs make one pass of each."""

ATTENTION = ("scores", "mixed")
_AGAIN = {
    "none": (),
    "dots": (),
    "projections": ("o",),
    "full": ("q", "k", "v", "o", "gate", "up", *ATTENTION),
}
"""What the backward pass computes again, by remat; a layer's last product is never needed."""

_BACKWARD = {"splash": 3, "cudnn": 1, "blocks": 1}
"""Products of the size of the scores in the backward passes of backends that hold no scores, beyond
the four of the formulas; splash has a kernel for the queries and one for the keys."""

KERNELS = ("splash", "cudnn")
"""Backends whose scores never leave the core."""

_UNNAMED = ("reference", "cudnn")
"""Backends of which remat can't keep what their backward pass needs; see `vcjax.model.packed`."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, by what each device waits for.

    `useful` operations are those of the model, on all devices; `done` has those computed again.
    """

    useful: float
    done: float
    products: float
    memory: float
    links: float
    host: float = 0.0

    @property
    def least(self) -> float:
        """All at once, but for the state in the host's memory: its update comes after the rest."""
        return max(self.products, self.memory, self.links) + self.host

    @property
    def most(self) -> float:
        """One after the other."""
        return self.products + self.memory + self.links + self.host


def step_time(setting: Setting, held: State, hardware: Hardware) -> StepTime:
    """The roofline of a setting whose arrays have been counted."""
    config = setting.config
    useful = step_flops(setting.model, setting.rows, config.length, config.adapters)
    every = list(forward_products(setting.model, setting.rows, config.length))
    done = useful + sum(product.flops * _again(setting, product.name) for product in every)
    low = config.dtype == "bfloat16" or setting.topology.platform == "tpu"
    rate = PRODUCTS * hardware.flops * (1 if low else FULL_FLOAT32)
    # The optimiser reads and writes what it holds, and each product its factors and result.
    moved = 2 * (held.parameters + held.optimizer + held.gradients)
    for product in every:
        passes = _needed(setting, product.name) + _again(setting, product.name)
        moved += passes * _bytes(setting, product)
    return StepTime(
        useful,
        done,
        done / setting.topology.devices / rate,
        moved / (MEMORY * hardware.bandwidth),
        link_seconds(setting, hardware),
        2 * host_bytes(setting.layout.optimizer) / HOST_RATE,
    )


def _needed(setting: Setting, name: str) -> int:
    """Passes of a product: forward, and for the gradient of each factor that has one."""
    return 2 if setting.config.adapters and name not in ATTENTION else 3


def _again(setting: Setting, name: str) -> int:
    """Passes beyond them: of remat, of attention's kernels, and of a loss by row."""
    if name == "head":
        return int(setting.config.kind == "preferences")
    extra = _BACKWARD.get(setting.attention, 0) if name == "scores" else 0
    again = _AGAIN[setting.config.remat]
    if setting.config.remat != "none" and setting.attention in _UNNAMED:
        again = {*again, *ATTENTION}
    return extra + (name in again)


def _bytes(setting: Setting, product: Product) -> float:
    """Read and written by a device for one pass of a product, over all layers."""
    size = jnp.dtype(setting.config.dtype).itemsize
    parts = setting.topology.devices
    if product.name in ATTENTION:
        outside = product.rows * product.inner + product.inner * product.columns
        scores = product.rows * product.columns * product.share * 4
        fused = setting.attention in KERNELS
        return product.count * (outside * size + (0 if fused else 2 * scores)) / parts
    tensor = setting.mesh.shape["tensor"]
    weights = product.inner * product.columns / tensor * setting.config.microbatches
    # One side of a product is divided by the tensor axis, the other is the whole stream.
    sides = (product.inner, product.columns)
    wide, narrow = sides if product.name in ("o", "down") else reversed(sides)
    tokens = product.rows / parts * tensor
    return product.count * size * (weights + tokens * (narrow + wide / tensor))
