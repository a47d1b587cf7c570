"""Which executor a config asks for; those of clusters need the extra `corpus`."""

from collections.abc import Callable
from pathlib import Path

from vcjax.core.extras import require
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.processes import Executor, LocalProcesses
from vcjax.data.corpus.shards import plan_units
from vcjax.data.corpus.worker import MEGABYTE
from vcjax.data.files import find_files

_NEEDS = {
    "slurm": {"datatrove": "corpus"},
    "ray": {"datatrove": "corpus", "ray": "ray"},
}


def executor_for(config: PrepareConfig) -> Callable[[PrepareConfig, Path], Executor]:
    """What `prepare_corpus` takes as its executor.

    Raises:
      UserError: a library isn't installed.
    """
    if config.executor == "local":
        return LocalProcesses
    require(_NEEDS[config.executor], f"config.executor={config.executor}")
    from vcjax.data.corpus.cluster import Cluster

    return Cluster


def first_script(config: PrepareConfig, workdir: str) -> str:
    """What would be submitted to Slurm first: the tasks that read; later ones are of that form."""
    executor_for(config)
    from vcjax.data.corpus.cluster import slurm_script

    files = find_files(config.names)
    units = plan_units(files, config.shard_mb * MEGABYTE, config.kind, config.sample_by)
    return slurm_script(config, len(units), Path(workdir).absolute() / ".work" / "tasks")
