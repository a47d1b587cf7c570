"""Verbs: one script for each thing that a person does.

A step of training takes gigabytes from the allocator and gives them back. glibc can ask for huge
pages for them, which spares the kernel hundreds of thousands of page faults a step, but it reads
that wish before a program's first line: `python -m launch.NAME` therefore begins once more with
it. A user's own GLIBC_TUNABLES stand.

JAX takes a share of a GPU's memory when it starts, three quarters unless told otherwise. Scripts
ask for the share that `launch.plan` assumes; a user's own XLA_PYTHON_CLIENT_MEM_FRACTION stands.
"""

import os
import sys

from vcjax.core.hardware import GPU_SHARE

_TUNABLES = "GLIBC_TUNABLES"
_SHARES = ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION")
"""XLA refuses both at once."""


def _with_huge_pages() -> None:
    is_script = any(
        flag == "-m" and name.startswith("launch.")
        for flag, name in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    )
    has_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
    if is_script and has_glibc and _TUNABLES not in os.environ:
        environment = {**os.environ, _TUNABLES: "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _with_gpu_share() -> None:
    if not any(name in os.environ for name in _SHARES):
        os.environ[_SHARES[0]] = str(GPU_SHARE)


_with_huge_pages()
_with_gpu_share()
