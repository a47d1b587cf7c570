"""A run that is planned: a model, a configuration and a topology, laid out over a mesh.

The parameters, the optimiser's state and the batch are shapes with shardings; no device is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.data.packing import DTYPES
from vcjax.model.attention.packed import choose_backend
from vcjax.model.build import NAMED
from vcjax.model.config import LlamaConfig
from vcjax.parallel import (
    LOGICAL_AXIS_RULES,
    AnyMesh,
    abstract_mesh,
    make_mesh,
    partition_spec,
    shard_count,
)
from vcjax.plan.topology import Topology
from vcjax.train.config import TrainConfig, kind_of
from vcjax.train.layout import Layout, batch_spec, make_layout
from vcjax.train.optim import Optimizer, make_optimizer
from vcjax.weights.gguf.source import GGUFSource
from vcjax.weights.resolve import resolve
from vcjax.weights.workdir import MODEL

CONFIG = "config.json"
NO_DATA = "(a plan reads no data)"


def read_shape(reference: str) -> LlamaConfig:
    """The shape of a model reference, or of a name of `vcjax.model.build`.

    Raises:
      UserError: nothing is there, or what is there is no model.
    """
    if reference in NAMED:
        return NAMED[reference]
    located = resolve(reference, wanted=[CONFIG])
    if located.kind == "gguf":
        return LlamaConfig.from_hf(GGUFSource(located.path).config)
    folder = located.path / MODEL if located.kind == "workdir" else located.path
    return LlamaConfig.from_hf(read_json(folder / CONFIG))


def plan_config(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration of a run whose data needn't exist yet.

    Raises:
      UserError: a wrong field; see `TrainConfig.from_dict`.
    """
    kind = kind_of(values.get("stage", ""), values.get("objective", ""))
    data = values.get(kind) or NO_DATA
    return TrainConfig.from_dict({**values, kind: data})


@dataclass(frozen=True)
class Setting:
    """A run laid out over a mesh, as `vcjax.train` lays it out; nothing is allocated.

    `beside` are models that are loaded while it runs, such as a Critic, sharded in the same way.
    """

    model: LlamaConfig
    config: TrainConfig
    topology: Topology
    mesh: AnyMesh
    optimizer: Optimizer
    layout: Layout
    beside: tuple[LlamaConfig, ...] = ()

    @property
    def attention(self) -> str:
        """The backend that the run takes."""
        config = self.config
        return choose_backend(config.attention, self.model, config.dtype, self.mesh, config.length)

    @property
    def local_items(self) -> int:
        """Rows, or pairs of them, that a device computes at a time."""
        parts = shard_count(self.mesh, LOGICAL_AXIS_RULES["batch"]) * self.config.microbatches
        return self.config.batch_size // parts

    @property
    def local_tokens(self) -> int:
        """Tokens of a device's part of a step."""
        tokens = self.config.rows * self.config.length
        parts = shard_count(self.mesh, LOGICAL_AXIS_RULES["batch"]) * self.mesh.shape["sequence"]
        return tokens // parts

    def local(self, axis: str, size: int) -> int:
        """A device's part of a logical axis of that size."""
        return size // shard_count(self.mesh, partition_spec(self.mesh, (axis,), (size,))[0])


def settle(
    model: LlamaConfig,
    config: TrainConfig,
    topology: Topology,
    devices: Sequence[Any] | None = None,
    beside: tuple[LlamaConfig, ...] = (),
) -> Setting:
    """Lays a run out.

    Args:
      devices: those of `compile_devices`, where it is to be compiled.

    Raises:
      UserError: what `vcjax.train` would refuse: a mesh or an attention that doesn't suit the
        devices, rows longer than the model's positions.
    """
    if config.length > model.max_position:
        raise UserError(
            f"config.length: {config.length} is beyond the {model.max_position} positions of "
            f"{config.model}"
        )
    sizes = config.to_dict()["mesh"]
    if devices is None:
        # By the device's name `choose_backend` knows which kernels there are.
        kind = topology.hardware.kinds[0] if topology.hardware else "cpu"
        mesh: AnyMesh = abstract_mesh(sizes, topology.devices, kind, topology.platform)
    else:
        mesh = make_mesh(sizes, devices)
    optimizer = make_optimizer(config)
    layout = make_layout(model, config, optimizer, mesh)
    return Setting(
        model=model,
        config=config,
        topology=topology,
        mesh=mesh,
        optimizer=optimizer,
        layout=layout,
        beside=beside,
    )


def shareable(config: TrainConfig, topology: Topology) -> TrainConfig:
    """The config with the next larger batch that the devices can share out evenly."""
    mesh = abstract_mesh(config.to_dict()["mesh"], topology.devices, "", topology.platform)
    # The axes that `batch_spec` shards rows over; a microbatch is shared out in the same way.
    parts = int(np.prod([mesh.shape[axis] for axis in ("data", "fsdp")])) * config.microbatches
    return replace(config, batch_size=-(-config.batch_size // parts) * parts)


def batch_shapes(config: TrainConfig, items: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch of `items` rows, or pairs of rows for preferences, of `length` tokens."""
    shape = (items, 2, length) if config.kind == "preferences" else (items, length)
    batch = {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in DTYPES.items()}
    if config.objective == "dpo":  # log-probabilities of the base model, from before the run
        batch["reference"] = jax.ShapeDtypeStruct((items, 2), jnp.float32)
    return batch


def abstract_batch(setting: Setting) -> dict[str, jax.ShapeDtypeStruct]:
    """The whole batch of a step, laid out over the mesh."""

    def sharded(name: str, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        spec = batch_spec(name, leaf.ndim)
        return leaf.update(sharding=NamedSharding(setting.mesh, spec))

    config = setting.config
    whole = batch_shapes(config, config.batch_size, config.length)
    return {name: sharded(name, leaf) for name, leaf in whole.items()}
