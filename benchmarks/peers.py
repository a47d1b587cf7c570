"""Who is measured beside us, and where their libraries are."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError


@dataclass(frozen=True)
class Peer:
    """A contender of another library.

    Attributes:
      name: in the results.
      module: under `benchmarks.contenders`.
      library: what its interpreter must have.
      options: told to the module beside the config.
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

HOMES = {"torch": Path(".venv-parity"), "tunix": Path(".venv-tunix")}
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
