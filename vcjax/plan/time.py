"""How long a step takes, at best: a roofline of operations, memory and links.

What is counted comes from the shapes of the model's matmuls (`vcjax.model.flops`); the rates are
the vendors' peaks times the shares below, which are assumptions, not measurements.
Source of the method: Williams et al., doi 10.1145/1498765.1498785, with links as a third roof.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from vcjax.core.hardware import Hardware
from vcjax.model.flops import Matmul, forward_matmuls, parameters, step_flops
from vcjax.plan.memory import State, host_bytes
from vcjax.plan.setting import Setting

MATMULS, MEMORY, LINKS = 0.75, 0.8, 0.8
"""Assumed shares of the peaks that matmuls, memory and links reach."""

HOST_RATE = 16e9
"""Assumed between a device and its host's memory, one way, bytes/s: PCIe 4.0's for eight lanes."""

FULL_FLOAT32 = 0.5
"""Assumed rate of float32 matmuls on GPUs (TF32), against bfloat16; TPUs make one pass of each."""

ATTENTION = ("scores", "mixed")
_AGAIN = {
    "none": (),
    "dots": (),
    "projections": ("o",),
    "full": ("q", "k", "v", "o", "gate", "up", *ATTENTION),
}
"""What the backward pass computes again, by remat; a layer's last matmul is never needed."""

_BACKWARD = {"splash": 3, "cudnn": 1, "blocks": 1}
"""Matmuls of the size of the scores in the backward passes of backends that store no scores, beyond
the four of the formulas; splash has a kernel for the queries and one for the keys."""

KERNELS = ("splash", "cudnn")
"""Backends whose scores never leave the core."""

_UNNAMED = ("reference", "cudnn")
"""Backends of which remat can't keep what their backward pass needs; see
`vcjax.model.attention.packed`."""


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, by what each device waits for.

    `useful` operations are those of the model, on all devices; `done` has those computed again.
    """

    useful: float
    done: float
    matmuls: float
    memory: float
    links: float
    host: float = 0.0

    @property
    def least(self) -> float:
        """All at once, but for the state in the host's memory: its update comes after the rest."""
        return max(self.matmuls, self.memory, self.links) + self.host

    @property
    def most(self) -> float:
        """One after the other."""
        return self.matmuls + self.memory + self.links + self.host


def step_time(setting: Setting, state: State, hardware: Hardware) -> StepTime:
    """The roofline of a setting whose arrays have been counted."""
    config = setting.config
    useful = step_flops(setting.model, setting.config.rows, config.length, config.adapters)
    matmuls = list(forward_matmuls(setting.model, setting.config.rows, config.length))
    done = useful + sum(matmul.flops * _again(setting, matmul.name) for matmul in matmuls)
    low = config.dtype == "bfloat16" or setting.topology.platform == "tpu"
    same = low or not hardware.bfloat16
    rate = MATMULS * hardware.flops * (1 if same else FULL_FLOAT32)
    # The optimiser reads and writes all that it updates, and each matmul its factors and result.
    moved = 2 * (state.parameters + state.optimizer + state.gradients)
    for matmul in matmuls:
        passes = _needed(setting, matmul.name) + _again(setting, matmul.name)
        moved += passes * _bytes(setting, matmul)
    return StepTime(
        useful=useful,
        done=done,
        matmuls=done / setting.topology.devices / rate,
        memory=moved / (MEMORY * hardware.bandwidth),
        links=link_seconds(setting, hardware),
        host=2 * host_bytes(setting.layout.optimizer) / HOST_RATE,
    )


def _needed(setting: Setting, name: str) -> int:
    """Passes of a matmul: forward, and for the gradient of each factor that has one."""
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


def _bytes(setting: Setting, matmul: Matmul) -> float:
    """Read and written by a device for one pass of a matmul, over all layers."""
    size = jnp.dtype(setting.config.dtype).itemsize
    parts = setting.topology.devices
    if matmul.name in ATTENTION:
        outside = matmul.rows * matmul.inner + matmul.inner * matmul.columns
        # In float32, and only the part below the diagonal.
        scores = matmul.rows * matmul.columns * matmul.share * 4
        fused = setting.attention in KERNELS
        return matmul.count * (outside * size + (0 if fused else 2 * scores)) / parts
    tensor = setting.mesh.shape["tensor"]
    weights = matmul.inner * matmul.columns / tensor * setting.config.microbatches
    # One side of a matmul is divided by the tensor axis, the other is the whole stream.
    sides = (matmul.inner, matmul.columns)
    wide, narrow = sides if matmul.name in ("o", "down") else reversed(sides)
    tokens = matmul.rows / parts * tensor
    return matmul.count * size * (weights + tokens * (narrow + wide / tensor))


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
    # All-reduces of the tensor axis: after attention and after the MLP, forward and backward; full
    # remat repeats the one after attention. A ring brings each of them twice.
    streams = 2 * (5 if again else 4) * model.num_layers * tokens * model.hidden_size * size
    keys = 2 * setting.local("kv_heads", model.num_kv_heads) * model.head_dim
    rows = tokens * count["sequence"]
    # Keys and values of whole rows: gathered forward and backward (and where the forward pass is
    # repeated), their gradients scattered.
    exchanged = (4 if again else 3) * model.num_layers * rows * keys * size * ring("sequence")
    return (gathered + reduced + copies + exchanged) / (LINKS * far) + streams * ring("tensor") / (
        LINKS * near
    )
