"""Work on shards by many machines: datatrove's executors for Slurm and for Ray.

A task of datatrove is one shard. All machines see the workdir under the same path. The command
that the user started plans, waits for each round's tasks, decides about duplicates and ends the
dataset; started again after a kill, it asks for the shards that aren't finished.

datatrove has an executor for one machine too, and `vcjax.data.corpus.processes` is used there
instead: its processes outlive a killed parent, keep no worker between shards, and need the extra.
"""

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.ray import RayPipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from vcjax.core.errors import UserError
from vcjax.core.files import write_text
from vcjax.core.ray_cluster import connect
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.processes import MB_PER_WORKER
from vcjax.data.corpus.worker import Worker

TASKS = "tasks"
"""The folder of datatrove's records and logs, in the one between the rounds."""
_SECONDS_BETWEEN = 1.0


class Cluster:
    """An Executor by one of datatrove's."""

    def __init__(self, config: PrepareConfig, work: Path) -> None:
        self._config, self._work = config, work.absolute()
        self._make = {"slurm": slurm_executor, "ray": _ray_executor}[config.executor]

    def run(self, method: str, todo: Sequence[tuple], done: Callable[[], object]) -> None:
        # A folder for each call: tasks of a killed run may still be there, with other ranks.
        folder = next(
            folder
            for number in count()
            if not (folder := self._work / TASKS / f"{method}-{number}").exists()
        )
        errors = folder / "errors"
        block = ShardBlock(self._config, self._work, method, todo, errors)
        executor = self._make(self._config, block, len(todo), folder)
        with _reported(folder / "completions", done):
            try:
                executor.run()
            except subprocess.CalledProcessError as error:
                self._raise_user_error(errors)
                raise RuntimeError(f"{shlex.join(error.cmd)} failed; see {folder}") from error
        self._raise_user_error(errors)
        if left := executor.get_incomplete_ranks(skip_completed=True):
            raise RuntimeError(f"{len(left)} of {len(todo)} tasks failed; see {folder}")

    def _raise_user_error(self, errors: Path) -> None:
        for path in sorted(errors.glob("[0-9]*")):
            raise UserError(path.read_text())


class ShardBlock(PipelineStep):
    """Has a `Worker` do its work on one shard, which is that of the task's rank."""

    type, name = "SHARD", "work on a shard"

    def __init__(
        self, config: PrepareConfig, work: Path, method: str, todo: Sequence[tuple], errors: Path
    ) -> None:
        """Args:
        work: the folder between the rounds, which all machines have under this path.
        method: of the Worker.
        todo: the arguments of each call.
        errors: a folder that gets, by rank, what is wrong with the input.
        """
        super().__init__()
        self._config, self._work, self._method = config, work, method
        self._todo, self._errors = list(todo), errors

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        try:
            with self.track_time():
                getattr(Worker(self._config, self._work), self._method)(*self._todo[rank])
        except UserError as error:
            write_text(self._errors / f"{rank:05}", str(error))
            raise
        yield from data or ()


@contextmanager
def _reported(completions: Path, done: Callable[[], object]) -> Iterator[None]:
    """Calls `done` for each task that ends, within the block."""
    over, seen = threading.Event(), 0

    def report() -> None:
        nonlocal seen
        ended = len(list(completions.glob("[0-9]*")))
        for _ in range(ended - seen):
            done()
        seen = max(seen, ended)

    def watch() -> None:
        while not over.wait(_SECONDS_BETWEEN):
            report()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        report()


# --- Slurm ---------------------------------------------------------------------------------------


class _WaitingSlurm(SlurmPipelineExecutor):
    """Submits an array and waits for its end; what it counted isn't added up in a further job."""

    def launch_merge_stats(self) -> None:
        pass


def slurm_executor(
    config: PrepareConfig, block: ShardBlock, tasks: int, folder: Path
) -> SlurmPipelineExecutor:
    """An array of `tasks` tasks of one core, that `sbatch` waits for.

    Raises:
      UserError: the folder's path has a space.
    """
    if " " in str(folder):  # datatrove's script has it as it is, in a command
        raise UserError(f"{folder}: has a space, which a workdir of Slurm's tasks can't have")
    slurm = config.slurm
    gigabytes = max(slurm.memory_gb, -(-MB_PER_WORKER // 1024))
    programs = shlex.quote(str(Path(sys.executable).parent))
    return _WaitingSlurm(
        [block],
        tasks=tasks,
        time=slurm.time,
        partition=slurm.partition,
        mem_per_cpu_gb=gigabytes,
        workers=config.workers or -1,
        job_name="vcjax-prepare",
        qos=None,  # type: ignore[arg-type]
        env_command=slurm.environment or f"export PATH={programs}:$PATH",
        sbatch_args={"wait": "", **slurm.more()},
        logging_dir=str(folder),
        skip_completed=False,
        with_srun=False,
    )


def slurm_script(config: PrepareConfig, tasks: int, folder: Path) -> str:
    """The script that `sbatch` would get for a round of `tasks` shards. Leaves its folder of logs,
    which exists before the job does."""
    block = ShardBlock(config, folder, "read", [()] * tasks, folder)
    executor = slurm_executor(config, block, tasks, folder)
    most = min(tasks, executor.max_array_size)
    command = f"launch_pickled_pipeline {folder / 'executor.pik'}"
    return executor.get_launch_file_contents(executor.get_sbatch_args(most), command)


# --- Ray -----------------------------------------------------------------------------------------


def _ray_executor(
    config: PrepareConfig, block: ShardBlock, tasks: int, folder: Path
) -> PipelineExecutor:
    connect("config.executor=ray")
    return RayPipelineExecutor(
        [block],
        tasks=tasks,
        workers=config.workers or -1,
        mem_per_cpu_gb=MB_PER_WORKER / 1024,
        logging_dir=str(folder),
        skip_completed=False,
    )
