"""The peak rates and the memory of accelerators, per device as JAX counts them.

Sources: the vendors' data sheets (Cloud TPU system architecture; NVIDIA A100 SXM, H100 SXM, H200
SXM, B200, L4, T4, GeForce RTX 3090 and 4090 and DGX), dense rates without sparsity. A TPU's memory
is what its compiler (libtpu 0.0.42) lets a program have; a GPU's is GPU_SHARE of the board's.
"""

import os
from dataclasses import dataclass

GiB = 2**30

GPU_SHARE = 0.95
"""Share of a GPU's memory that JAX takes when it starts: scripts ask for it, plans assume it."""
_SHARES = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
"""Where it is asked for; XLA refuses both at once."""


@dataclass(frozen=True)
class Hardware:
    """One kind of device; rates are peaks that no program reaches.

    Attributes:
      kinds: what `jax.Device.device_kind` calls it.
      flops: of bfloat16 matmuls, FLOP/s; without such units, of float32's, which compute them.
      memory: bytes that a program can have.
      bandwidth: of that memory, bytes/s.
      interconnect: into a device from the others near it, over all of its links, bytes/s.
      node: devices so connected; 0 is all of them.
      network: into a device from beyond its node, bytes/s.
      bfloat16: whether it has units for bfloat16 matmuls.
    """

    kinds: tuple[str, ...]
    flops: float
    memory: int
    bandwidth: float
    interconnect: float
    node: int = 0
    network: float = 0.0
    bfloat16: bool = True


HARDWARE = {
    "v5e": Hardware(("TPU v5 lite", "TPU v5e"), 197e12, int(15.75 * GiB), 819e9, 200e9),
    "v5p": Hardware(("TPU v5", "TPU v5p"), 459e12, int(95.74 * GiB), 2765e9, 600e9),
    "v6e": Hardware(("TPU v6 lite", "TPU v6e"), 918e12, int(31.25 * GiB), 1638e9, 400e9),
    "t4": Hardware(
        ("Tesla T4",), 8.1e12, int(GPU_SHARE * 14.7 * GiB), 320e9, 16e9, 8, 6.25e9, bfloat16=False
    ),
    "rtx3090": Hardware(
        ("NVIDIA GeForce RTX 3090",), 71e12, int(GPU_SHARE * 23.6 * GiB), 936e9, 32e9, 8, 1.25e9
    ),
    "rtx4090": Hardware(
        ("NVIDIA GeForce RTX 4090",), 165e12, int(GPU_SHARE * 23.6 * GiB), 1008e9, 32e9, 8, 1.25e9
    ),
    "l4": Hardware(("NVIDIA L4",), 121e12, int(GPU_SHARE * 22.5 * GiB), 300e9, 32e9, 8, 12.5e9),
    "a100-40gb": Hardware(
        ("NVIDIA A100-SXM4-40GB",), 312e12, int(GPU_SHARE * 40 * GiB), 1555e9, 300e9, 8, 25e9
    ),
    "a100": Hardware(
        ("NVIDIA A100-SXM4-80GB",), 312e12, int(GPU_SHARE * 80 * GiB), 2039e9, 300e9, 8, 25e9
    ),
    "h100": Hardware(
        ("NVIDIA H100 80GB HBM3",), 989e12, int(GPU_SHARE * 79.6 * GiB), 3350e9, 450e9, 8, 50e9
    ),
    "h200": Hardware(("NVIDIA H200",), 989e12, int(GPU_SHARE * 140 * GiB), 4800e9, 450e9, 8, 50e9),
    "b200": Hardware(("NVIDIA B200",), 2250e12, int(GPU_SHARE * 179 * GiB), 8000e9, 900e9, 8, 50e9),
}
"""Hardware by the name that topologies begin with."""


def hardware_of(device_kind: str) -> Hardware | None:
    """The entry of `jax.Device.device_kind`; None if the table has none, as for a CPU."""
    return next((entry for entry in HARDWARE.values() if device_kind in entry.kinds), None)


def reserve_gpu() -> None:
    """Has JAX take that share, once it starts; a user's own setting is kept."""
    if not any(name in os.environ for name in _SHARES):
        os.environ[_SHARES[0]] = str(GPU_SHARE)
