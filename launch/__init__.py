"""Verbs: one script for each thing that a person does.

A step of training takes gigabytes from the allocator and gives them back. glibc can ask for huge
pages for them, which spares the kernel hundreds of thousands of page faults a step, but it reads
that wish before a program's first line: `python -m launch.NAME` therefore begins once more with
it. A user's own GLIBC_TUNABLES stand.
"""

import os
import sys

_TUNABLES = "GLIBC_TUNABLES"


def _with_huge_pages() -> None:
    is_script = any(
        flag == "-m" and name.startswith("launch.")
        for flag, name in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    )
    has_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
    if is_script and has_glibc and _TUNABLES not in os.environ:
        environment = {**os.environ, _TUNABLES: "glibc.malloc.hugetlb=1"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


_with_huge_pages()
