"""Launch scripts as a user runs them: in a separate process."""

import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def started(script: str, arguments: Sequence[str], cache: Path, **streams: int) -> subprocess.Popen:
    """Starts `python -m launch.SCRIPT`; compilations are kept in `cache`.

    What it writes goes to pipes, unless `streams` (`stdin`, `stdout`, `stderr`) says otherwise.
    """
    environment = os.environ | {"VCJAX_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-m", f"launch.{script}", *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams,
    )


def launched(script: str, arguments: Sequence[str], cache: Path) -> tuple[int, str, str]:
    """Runs a script to its end; returns exit code, standard output and standard error."""
    process = started(script, arguments, cache)
    out, error = process.communicate(timeout=300)
    return process.returncode, out, error


@contextmanager
def coordinator() -> Iterator[str]:
    """An address for `jax.distributed`, whose port stays ours until the block ends.

    The socket is bound and doesn't listen. Others get another port; gRPC's server, which shares
    (SO_REUSEPORT), can listen at this one.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def restored(folder: Path, spare: Path) -> Iterator[Path]:
    """A folder that the block may change: what it was is put back. A copy of a run would be at
    another path than the one that its stages name each other by."""
    shutil.copytree(folder, spare, copy_function=shutil.copy2)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        spare.rename(folder)


def rest_of(process: subprocess.Popen) -> tuple[str, str]:
    """Waits for a process of which lines were read; returns its further output and its error.

    `communicate` would pass over what `readline` took from the pipe without giving it out.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    out, error = process.stdout.read(), process.stderr.read()
    process.wait(timeout=300)
    return out, error


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Within it no file can grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run_two(module: str, arguments: Sequence[str], xla_flags: str) -> None:
    """Runs a module in two processes, which find each other by the environment; both must end
    well. Args: `xla_flags` sets the devices of each, see `tests.compilation.with_devices`."""
    command = [sys.executable, "-m", module, *arguments]
    with coordinator() as address:
        given = {"XLA_FLAGS": xla_flags, "JAX_PLATFORMS": "cpu", "PROCESSES": "2"}
        given["JAX_COORDINATOR_ADDRESS"] = address
        processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | given | {"PROCESS": str(index)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for index in range(2)
        ]
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
