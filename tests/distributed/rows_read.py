"""Puts the batches of two epochs on meshes of all devices, and writes what this process read.

    python -m tests.distributed.rows_read FOLDER BATCH_SIZE SEED MESHES OUT

One of two processes. OUT.PROCESS.json has for each mesh and each step `read`, the numbers of the
rows that were read from the prepared FOLDER, and `shards`: of each device its rows of the batch and
their tokens there.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax

from vcjax.core.files import write_json
from vcjax.data.loader import Batches
from vcjax.data.packing import Row
from vcjax.data.prepared import open_prepared
from vcjax.parallel import make_mesh
from vcjax.train.layout import local_rows, shard_batch


class Noted(Sequence[Row]):
    """Rows that remember which of them were read."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        self.read.append(int(index))
        return self._rows[index]


def read_on(
    sizes: dict[str, int], folder: str, batch_size: int, seed: int
) -> list[dict[str, list]]:
    """What this process reads on one mesh, by step."""
    mesh, part = make_mesh(sizes), open_prepared(folder)
    source = Noted(part.source)
    rows = local_rows(mesh, batch_size)
    batches = Batches([(replace(part, source=source), 1.0)], batch_size, seed, rows)
    found = []
    for step in range(2 * len(part) // batch_size):
        source.read.clear()
        tokens = shard_batch(batches.batch(step), mesh, batch_size)["tokens"]
        shards = [
            [list(range(batch_size))[each.index[0]], each.data.tolist()]
            for each in tokens.addressable_shards
        ]
        found.append({"read": list(source.read), "shards": shards})
    return found


if __name__ == "__main__":
    process = int(os.environ["PROCESS"])
    jax.distributed.initialize(num_processes=2, process_id=process)
    folder, size, seed, meshes, out = sys.argv[1:]
    found = [read_on(sizes, folder, int(size), int(seed)) for sizes in json.loads(meshes)]
    write_json(f"{out}.{process}.json", found)
