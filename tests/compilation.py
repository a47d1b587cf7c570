"""How tests compile: cheaply, and each program once for all processes of a session.

Most of the suite's time is XLA's. Importing this module, before JAX, sets what JAX reads from the
environment here and in every process that a test starts; the caller's own settings are kept.
"""

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version

_CHEAP = "JAX_DISABLE_MOST_OPTIMIZATIONS"
# XLA ends a process that names a flag it doesn't know, and newer ones don't know this one.
_KNOWS_EMITTERS = version("jaxlib").startswith("0.10.")
_EMITTERS = "--xla_cpu_use_fusion_emitters=false" if _KNOWS_EMITTERS else ""
OPTIMISED = {_CHEAP: "0", "XLA_FLAGS": ""}
"""In the environment of a process, programs as users have them: where a test measures those."""

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The passes over XLA's own programs stay. LLVM's optimisations are off, and fusions are emitted as
# LLVM's code at once, not through MLIR: a training step compiles in an eighth of the time.
os.environ.setdefault(_CHEAP, "1")
os.environ.setdefault("XLA_FLAGS", _EMITTERS)
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # else a worker's: it is its session's
    _folder = tempfile.mkdtemp(prefix="vcjax-compiled-")
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _folder
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def with_devices(count: int, *flags: str) -> str:
    """`XLA_FLAGS` of a process of its own with so many virtual devices, compiling cheaply too."""
    return " ".join([_EMITTERS, f"--xla_force_host_platform_device_count={count}", *flags]).strip()


def optimise() -> None:
    """Programs as users have them from here on: for a folder's `conftest.py`, when it is imported.

    It is for rooms that measure what the compiler makes, and of which a session runs no other.
    """
    import jax

    if os.environ.get("XLA_FLAGS") == _EMITTERS:  # read with the first program, later than this
        del os.environ["XLA_FLAGS"]
    os.environ[_CHEAP] = "0"
    jax.config.update(_CHEAP.lower(), False)
