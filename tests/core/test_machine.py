"""What a process may use of its machine, by control groups in a folder."""

import os
from pathlib import Path

import pytest

from vcjax.core.machine import machine_memory

WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
FREE_V1 = "9223372036854771712"
MiB = 2**20


@pytest.mark.parametrize(
    ("group", "limits", "wanted"),
    [
        ("0::/", {"memory.max": f"{700 * MiB}"}, 700 * MiB),
        ("0::/", {"memory.max": "max"}, WHOLE),
        ("0::/", {"memory.max": f"{2 * WHOLE}"}, WHOLE),
        (
            "0::/slice/job:1",
            {"slice/job:1/memory.max": "max", "slice/memory.max": f"{300 * MiB}"},
            300 * MiB,
        ),
        (
            "12:cpu,memory:/job\n3:cpu:/",
            {
                "memory/job/memory.limit_in_bytes": f"{500 * MiB}",
                "memory/memory.limit_in_bytes": FREE_V1,
            },
            500 * MiB,
        ),
        # In a container of version 1 the path is the host's.
        (
            "5:memory:/docker/abc",
            {"memory/memory.limit_in_bytes": f"{400 * MiB}"},
            400 * MiB,
        ),
        ("5:memory:/a\n0::/", {"memory/memory.limit_in_bytes": FREE_V1}, WHOLE),
        ("4:cpu:/a", {"memory.max": "1"}, WHOLE),
    ],
)
def test_the_least_limit_of_a_process_s_groups_bounds_its_memory(tmp_path, group, limits, wanted):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{group}\n", encoding="utf-8")
    for name, value in limits.items():
        path: Path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")
    assert machine_memory(tmp_path) == wanted


def test_without_groups_it_is_the_machine_s(tmp_path):
    assert machine_memory(tmp_path) == WHOLE
    assert 0 < machine_memory() <= WHOLE
