"""Which executor a config asks for; those of clusters need the extra `corpus`."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from vcjax.core.errors import UserError
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.processes import Executor, LocalProcesses
from vcjax.data.corpus.shards import plan_units
from vcjax.data.corpus.worker import MEGABYTE
from vcjax.data.files import find_files

_NEEDS = {"slurm": ("datatrove",), "ray": ("datatrove", "ray")}


def executor_for(config: PrepareConfig) -> Callable[[PrepareConfig, Path], Executor]:
    """What `prepare_corpus` takes as its executor.

    Raises:
      UserError: a library isn't installed.
    """
    if config.executor == "local":
        return LocalProcesses
    for library in _NEEDS[config.executor]:
        if find_spec(library) is None:
            extra = "ray" if library == "ray" else "corpus"
            raise UserError(
                f"config.executor: {config.executor} needs {library}: pip install 'vcjax[{extra}]'"
            )
    from vcjax.data.corpus.cluster import Cluster

    return Cluster


def first_script(config: PrepareConfig, workdir: str) -> str:
    """What would be submitted to Slurm first: the tasks that read; later ones are of that form."""
    executor_for(config)
    from vcjax.data.corpus.cluster import slurm_script

    units = plan_units(find_files(config.names), config.shard_mb * MEGABYTE, config.kind)
    return slurm_script(config, len(units), Path(workdir).absolute() / ".work" / "tasks")
