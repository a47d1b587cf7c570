"""What this process may use of the machine that it runs on."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def machine_memory(root: Path = Path("/")) -> int:
    """Bytes of memory: the machine's, or less where a container or a job is given less.

    The limits of control groups count, of the process's own group and of those above it
    (https://docs.kernel.org/admin-guide/cgroup-v2.html, `memory.max`; of version 1
    `memory.limit_in_bytes`).

    Args:
      root: where `proc` and `sys` are.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([memory, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    mount = root / "sys/fs/cgroup"
    for group in groups:
        number, kinds, path = group.split(":", 2)
        if number == "0" and not kinds:
            yield from _of(mount, path, "memory.max")
        elif "memory" in kinds.split(","):
            yield from _of(mount / "memory", path, "memory.limit_in_bytes")


def _of(mount: Path, path: str, name: str) -> Iterator[int]:
    """The limits of a group and of those above it. In a container the path may be the host's, of
    which only the container's own group is seen, at the mount."""
    own = PurePosixPath(path.lstrip("/"))
    for group in (own, *own.parents):
        try:
            value = (mount / group / name).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        if value.isdecimal():  # or `max`
            yield int(value)
