"""What a measurement runs on: the machine, other interpreters, and the model as a folder."""

import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from vcjax.core.errors import UserError
from vcjax.core.files import replaced_folder
from vcjax.core.lineage import code_version, content_hash
from vcjax.core.machine import machine_memory
from vcjax.weights.export import write_model
from vcjax.weights.gguf.writer import FILE, write_gguf
from vcjax.weights.load import load_located
from vcjax.weights.resolve import resolve

T = TypeVar("T")
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "grain", "tokenizers", "numpy")


def machine_facts() -> dict[str, Any]:
    """Processor, cores and memory that this process may use, load, and versions.

    `load` is the number of runnable processes over the last minute: well below 1 where the
    machine was left to the bench.
    """
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": machine_memory(),
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


def in_subprocess(function: Callable[..., T], *arguments: Any) -> T:
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


@dataclass(frozen=True)
class Peer:
    """A contender of another library.

    Attributes:
      name: in the results.
      module: under `benchmarks.contenders`.
      library: what its interpreter must have.
      options: given to the module beside the config.
      always: whether the short bench has it too.
      dtypes: of the cases that have it.
    """

    name: str
    module: str
    library: str
    options: dict[str, Any]
    always: bool = False
    dtypes: tuple[str, ...] = ("float32", "bfloat16")


def _pytorch(name: str, *, compiled: bool = False, low_weights: bool = False, **more: Any) -> Peer:
    options = {"compiled": compiled, "low_weights": low_weights}
    return Peer(name, "pytorch", "torch", options, **more)


PEERS = (
    _pytorch("transformers", always=True),
    _pytorch("transformers, compiled", compiled=True),
    _pytorch("transformers, bfloat16 weights", low_weights=True, dtypes=("bfloat16",)),
    Peer("tunix", "tunix", "tunix", {}),
)

HOMES = {
    "torch": Path(".venv-parity"),
    "tunix": Path(".venv-tunix"),
    "spacy": Path(".venv-datatrove"),
    "llama_cpp": Path(".venv-llama"),
}
"""Environments that `make` sets up beside ours."""


def interpreter(library: str, given: str) -> Path | None:
    """The Python that has a library: the one given, ours, or that of its environment.

    Raises:
      UserError: the one given isn't there.
    """
    if given:
        if not Path(given).is_file():
            raise UserError(f"{given}: no such interpreter")
        return Path(given).absolute()
    if find_spec(library) is not None:
        return Path(sys.executable)
    beside = HOMES[library] / "bin" / "python"
    return beside.absolute() if beside.is_file() else None


def absent(library: str) -> str:
    """Why a peer without an interpreter is left out."""
    home = HOMES[library]
    return f"{library} isn't installed here; `make {home}/ready` makes an environment that has it"


def as_folder(reference: str, folder: Path) -> Path:
    """A Hugging Face folder of a model in float32.

    Made below `folder` unless the reference is one or an earlier bench has made it.
    """
    located = resolve(reference)
    if located.kind == "hf":
        return located.path.absolute()
    made = (folder / content_hash(located.path, located.files)[:16]).absolute()
    if not made.is_dir():
        with replaced_folder(made) as temporary:
            write_model(temporary, load_located(located, "float32"), form="hf", dtype="float32")
    return made


def as_gguf(model: Path, kind: str, folder: Path) -> Path:
    """A GGUF file of a model's folder, as `convert --to=gguf` makes it, below `folder`.

    Args:
      kind: of the matrices, as of `write_gguf`.
    """
    located = resolve(str(model))
    made = (folder / f"{content_hash(located.path, located.files)[:16]}-{kind}").absolute()
    if not made.is_dir():
        with replaced_folder(made) as temporary:
            write_gguf(temporary, load_located(located, "float32"), kind)
    return made / FILE
