"""The memory that one of several processes needs to load its shards of a stored model.

    python -m tests.weights.load_an_eighth --src=DIR

Eight processes form a mesh of eight devices, one each; the first loads its shards of the model in
float32, fully sharded, as `train` does. The others wait, as they would on their own hosts.
"""

import multiprocessing
import re
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

from tests.processes import coordinator

PROCESSES = 8


class Loaded(NamedTuple):
    """Bytes: of the arrays that a process holds, of all, and its peak beyond what it began with."""

    share: int
    whole: int
    peak: int


def load_a_part(folder: Path, count: int = PROCESSES) -> Loaded:
    """Loads the first of `count` processes' part of a Hugging Face folder; returns its memory."""
    with coordinator() as address:
        context = multiprocessing.get_context("spawn")
        hears, says = context.Pipe(duplex=False)
        processes = [
            context.Process(target=_join, args=(index, count, address, folder, says), daemon=True)
            for index in range(count)
        ]
        for process in processes:
            process.start()
        says.close()
        try:
            while not hears.poll(1):
                if processes[0].exitcode is not None:
                    raise RuntimeError(f"the loader ended with {processes[0].exitcode}")
            return hears.recv()
        finally:
            for process in reversed(processes):  # the others die noisily where the first is gone
                process.kill()
                process.join()


def _join(index: int, count: int, address: str, folder: Path, says: Connection) -> None:
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    jax.distributed.initialize(address, count, index)
    jax.devices()
    if index == 0:
        says.send(_load(folder))
    multiprocessing.Event().wait()


def _load(folder: Path) -> Loaded:
    import jax

    from vcjax.model.build import logical_axes, shapes
    from vcjax.parallel import make_mesh, shardings
    from vcjax.weights.load import open_model
    from vcjax.weights.sharded import load_sharded

    model, mesh = open_model(str(folder)), make_mesh({"fsdp": -1})
    tree = shapes(model.config)
    places = shardings(mesh, logical_axes(model.config), tree)
    layout = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        tree,
        places,
    )
    before = _peak()
    params = jax.block_until_ready(load_sharded(model.source, model.config, layout))
    leaves = jax.tree.leaves(params)
    share = sum(shard.data.nbytes for leaf in leaves for shard in leaf.addressable_shards)
    return Loaded(share, sum(leaf.nbytes for leaf in leaves), _peak() - before)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def main(_: list[str]) -> None:
    share, whole, peak = (size / 2**30 for size in load_a_part(Path(FLAGS.src)))
    print(f"share {share:.2f} of {whole:.2f} GiB, peak {peak:.2f} GiB")


FLAGS = flags.FLAGS

if __name__ == "__main__":
    flags.DEFINE_string("src", None, "The Hugging Face folder to load.", required=True)
    app.run(main)
