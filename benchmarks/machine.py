"""What machine a measurement was taken on."""

import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from vcjax.core.lineage import code_version

T = TypeVar("T")
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "grain", "tokenizers", "numpy")


def machine_facts() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, load, and versions.

    `load` is the number of runnable processes over the last minute: well below 1 where the
    machine was left to the bench.
    """
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": pages * page,
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "vcjax": code_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def cores() -> int:
    """Processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Calls in a process of its own, whose memory and devices are free again afterwards."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def device() -> tuple[str, str]:
    """(platform, kind) of the device that JAX runs on, e.g. `cpu` or `gpu`."""
    import jax

    return jax.default_backend(), jax.devices()[0].device_kind


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
