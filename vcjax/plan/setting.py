"""What is planned: a model, a run's configuration, and where it would run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.sharding import AbstractMesh, Mesh

from vcjax.core.errors import UserError
from vcjax.model.config import LlamaConfig
from vcjax.model.packed import choose_backend
from vcjax.parallel import OnMesh, ShardingRules, abstract_mesh, make_mesh
from vcjax.plan.topology import Topology
from vcjax.train.config import TrainConfig
from vcjax.train.layout import Layout, make_layout
from vcjax.train.optim import Optimizer, make_optimizer


@dataclass(frozen=True)
class Setting:
    """A run laid out over a mesh, as `vcjax.train` lays it out; nothing is allocated.

    `beside` are models that are held while it runs, such as a Critic, laid out by the same rules.
    """

    model: LlamaConfig
    config: TrainConfig
    topology: Topology
    mesh: Mesh | AbstractMesh
    rules: ShardingRules
    optimizer: Optimizer
    layout: Layout
    beside: tuple[LlamaConfig, ...] = ()

    @property
    def on(self) -> OnMesh:
        """The mesh with its rules."""
        return OnMesh(self.mesh, self.rules)

    @property
    def attention(self) -> str:
        """The backend that the run takes."""
        config = self.config
        return choose_backend(config.attention, self.model, config.dtype, self.on, config.length)

    @property
    def rows(self) -> int:
        """Rows a step; a pair of preferences has two."""
        return self.config.batch_size * (2 if self.config.kind == "preferences" else 1)

    @property
    def local_items(self) -> int:
        """Rows, or pairs of them, that a device computes at a time."""
        parts = self.on.parts(self.rules.batch) * self.config.microbatches
        return self.config.batch_size // parts

    @property
    def local_tokens(self) -> int:
        """Tokens of a device's part of a step."""
        tokens = self.rows * self.config.length
        return tokens // self.on.parts(self.rules.batch) // self.mesh.shape["sequence"]

    def local(self, axis: str, size: int) -> int:
        """A device's part of a logical axis of that size."""
        return size // self.on.parts(self.on.spec((axis,), (size,))[0])


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
    sizes, rules = config.to_dict()["mesh"], ShardingRules()
    if devices is None:
        kind = topology.hardware.kinds[0] if topology.hardware else "cpu"
        mesh: Mesh | AbstractMesh = abstract_mesh(sizes, topology.devices, kind, topology.platform)
    else:
        mesh = make_mesh(sizes, devices)
    optimizer = make_optimizer(config)
    layout = make_layout(model, config, optimizer, mesh, rules)
    return Setting(model, config, topology, mesh, rules, optimizer, layout, beside)


def shareable(config: TrainConfig, topology: Topology) -> TrainConfig:
    """The config with the next larger batch that the devices can share out evenly."""
    mesh = abstract_mesh(config.to_dict()["mesh"], topology.devices, "", topology.platform)
    parts = int(np.prod([mesh.shape[axis] for axis in ("data", "fsdp")])) * config.microbatches
    return replace(config, batch_size=-(-config.batch_size // parts) * parts)
