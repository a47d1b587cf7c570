"""Topologies by name: `v5e-64`, `v5p-128`, `v6e-8`, `h100x8`, `cpu:8`.

Cloud TPU counts chips in the names of v5e and v6e slices and TensorCores, two a chip, in those of
v5p. To JAX a chip is one device in all three.
"""

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import jax
from jax.experimental import topologies

from vcjax.core.errors import UserError, suggest
from vcjax.core.hardware import HARDWARE, Hardware

_FLAT = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}
_CUBES = {
    **{4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4", 128: "4x4x8"},
    **{256: "4x8x8", 512: "8x8x8", 1024: "8x8x16", 2048: "8x16x16", 4096: "16x16x16"},
}
SLICES = {"v5e": _FLAT, "v6e": _FLAT, "v5p": _CUBES}
"""Shapes of TPU slices by their chips. Source: Cloud TPU's pages of each generation."""

_CORES = {"v5e": 1, "v6e": 1, "v5p": 2}
_TORUS = ("16x16", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16")
"""Slices whose every side closes to a ring; the others have no links from end to end."""


@dataclass(frozen=True)
class Topology:
    """Devices of one kind, counted as JAX counts them.

    Attributes:
      name: as the user wrote it.
      platform: `tpu`, `gpu` or `cpu`.
      hardware: None for CPUs, whose peaks no table knows.
      shape: of a TPU slice, e.g. `8x8`; '' for others.
    """

    name: str
    platform: str
    devices: int
    hardware: Hardware | None
    shape: str = ""

    @property
    def generation(self) -> str:
        """The part of a TPU's name before its size."""
        return self.name.partition("-")[0]

    @property
    def torus(self) -> bool:
        """Whether every side of a TPU slice closes to a ring."""
        return self.shape in _TORUS

    @property
    def text(self) -> str:
        """The devices that the name means, for people."""
        if self.platform == "tpu":
            cores = _CORES[self.generation]
            each = f"{cores} TensorCore{'s' if cores > 1 else ''} and one JAX device each"
            return f"{self.devices} chips ({self.shape}), {each}"
        kind = "GPUs" if self.platform == "gpu" else "virtual devices on this CPU"
        return f"{self.devices} {kind}"


def read_topology(name: str) -> Topology:
    """Reads a topology's name.

    Raises:
      UserError: an unknown kind, or a TPU slice that isn't made.
    """
    match = re.fullmatch(r"(?:(\w+)-(\d+)|([\w-]+?)x(\d+)|(cpu):(\d+))", name)
    # One of the three forms has matched, and the groups of the others are None.
    kind, number = [part for part in match.groups() if part] if match else ("", "0")
    count = int(number)
    gpus = [known for known in HARDWARE if known not in SLICES]
    if kind == "cpu" and count:
        return Topology(name, "cpu", count, None)
    if match and match[3] and kind in gpus and count:
        return Topology(name, "gpu", count, HARDWARE[kind])
    if match and match[1] and kind in SLICES:
        cores = _CORES[kind]
        shape = SLICES[kind].get(count // cores) if count % cores == 0 else None
        if shape is None:
            sizes = ", ".join(f"{kind}-{chips * cores}" for chips in SLICES[kind])
            raise UserError(f"--topology: there is no slice {name!r}; there are {sizes}")
        return Topology(name, "tpu", count // cores, HARDWARE[kind], shape)
    known = [f"{tpu}-N" for tpu in SLICES] + [f"{gpu}xN" for gpu in gpus] + ["cpu:N"]
    close = suggest(kind, [*SLICES, *gpus, "cpu"])
    raise UserError(f"--topology: {name!r} is none of {', '.join(known)}{close}")


def can_compile(topology: Topology) -> bool:
    """Whether the compiler for it is here; GPUs need the GPU itself."""
    return {"tpu": find_spec("libtpu") is not None, "cpu": True, "gpu": False}[topology.platform]


def compile_devices(topology: Topology) -> list[Any]:
    """Devices to compile for: those of a TPU slice exist for the compiler alone.

    Must be called before anything else asks JAX for devices.

    Raises:
      UserError: the compiler isn't installed.
    """
    if topology.platform == "gpu":
        raise UserError(f"--compile: {topology.name} can't be compiled for without the GPU")
    if not can_compile(topology):
        raise UserError(
            "--compile: the TPU compiler isn't installed; pip install 'vcjax[tpu]', or take "
            "--nocompile"
        )
    # No real accelerator is touched, and libtpu must not search for one.
    jax.config.update("jax_platforms", "cpu")
    if topology.platform == "cpu":
        jax.config.update("jax_num_cpu_devices", topology.devices)
        return jax.devices()
    os.environ |= {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        # Cloud's API, and libtpu with it, call a v5e slice so.
        "TPU_ACCELERATOR_TYPE": topology.name.replace("v5e", "v5litepod"),
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # two plans at once
    }
    # A program for devices that aren't here can't be read back from the cache.
    jax.config.update("jax_enable_compilation_cache", False)
    where = f"{topology.generation}:{topology.shape}"
    # Hosts have four chips by default, more than this slice has.
    alone = {"chips_per_host_bounds": [1, 1, 1]} if topology.devices == 1 else {}
    return topologies.get_topology_desc(where, "tpu", **alone).devices
