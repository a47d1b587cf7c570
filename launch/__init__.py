"""The scripts, one for each command.

In a checkout they are `python -m launch.NAME`. The installed package has them, and the configs, as
`vcjax.launch` and `vcjax.configs`, so that a user's own `launch` or `configs` is not shadowed.

Importing this package prepares the process before JAX is imported:

- A training step allocates and frees gigabytes. Huge pages save hundreds of thousands of page
  faults per step, but glibc reads its tunables before a program's first line. A script therefore
  executes itself once more with them set. A user's own GLIBC_TUNABLES are kept.
- JAX preallocates three quarters of a GPU's memory by default. Scripts preallocate the share that
  `launch.plan` assumes. A user's own XLA_PYTHON_CLIENT_MEM_FRACTION is kept.
"""

import os
import sys

from vcjax.core.hardware import reserve_gpu

_TUNABLES = "GLIBC_TUNABLES"


def _with_huge_pages() -> None:
    is_script = any(
        flag == "-m" and name.startswith(("launch.", "vcjax.launch."))
        for flag, name in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    )
    is_help = any(flag.startswith("--help") for flag in sys.orig_argv)  # which allocates little
    has_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
    if is_script and not is_help and has_glibc and _TUNABLES not in os.environ:
        environment = {**os.environ, _TUNABLES: "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


_with_huge_pages()
reserve_gpu()
