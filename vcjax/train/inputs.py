"""What a run is made from, checked as a whole before anything is written."""

from dataclasses import dataclass
from pathlib import Path

import jax
from jax.sharding import Mesh

from vcjax.charter.load import as_shipped_now, charter_parents, load_charter
from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent
from vcjax.model.packed import choose_backend
from vcjax.parallel import (
    OnMesh,
    ShardingRules,
    ending_together,
    make_mesh,
    on_main_process,
)
from vcjax.train.config import TrainConfig
from vcjax.train.measuring import Measured, check_measuring
from vcjax.train.offload import check_offload
from vcjax.train.parameter_groups import check_groups
from vcjax.train.reading import read_through
from vcjax.train.sinks import check_sink
from vcjax.train.sources import Source, check_sources
from vcjax.weights.bundle import open_model
from vcjax.weights.resolve import resolve
from vcjax.weights.stored import StoredModel
from vcjax.weights.workdir import SOURCES, as_begun, read_sources


@dataclass(frozen=True)
class Inputs:
    """What `check_inputs` found.

    Attributes:
      model: the base model; its tensors are read when the run needs them.
      sources: data to train on.
      measured: data to measure on.
      parents: all of it, for the lineage.
    """

    mesh: Mesh
    rules: ShardingRules
    model: StoredModel
    sources: list[Source]
    measured: Measured
    parents: list[Parent]


def check_inputs(config: TrainConfig, workdir: Path) -> Inputs:
    """Opens the model and the data, and holds all of it against the config.

    The main process reads the data through before a run begins, while the others wait.

    Raises:
      UserError: an input that doesn't hold, or that changed since the run began.
    """
    reference = on_main_process(lambda: _model_reference(config, workdir))
    with ending_together():
        mesh, rules = make_mesh(config.to_dict()["mesh"]), ShardingRules()
        _check_batch(config, mesh)
        check_offload(config, list(mesh.devices.flat))
        check_sink(config.sink)
        parents = _charter(config)
        model = open_model(reference)
        _check_model(config, model)
        on = OnMesh(mesh, rules)
        choose_backend(config.attention, model.config, config.dtype, on, config.length)
        check_groups(config, model.config)
        sources = check_sources(config, model.require_tokenizer(), workdir)
        measured = check_measuring(config, model, workdir)
    parents = [model.origin, *parents, *(one for source in sources for one in source.parents)]
    parents += measured.parents
    on_main_process(lambda: _check_parents(workdir, parents))
    on_main_process(lambda: _read_through(sources, measured, config, model, workdir))
    return Inputs(mesh, rules, model, sources, measured, parents)


def _model_reference(config: TrainConfig, workdir: Path) -> str:
    """The base model as the run began with it: several processes load one commit of a hub's."""
    reference = as_begun(config.model, workdir)
    return reference if jax.process_count() == 1 else resolve(reference).reference


def _check_batch(config: TrainConfig, mesh: Mesh) -> None:
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if config.batch_size % (config.microbatches * shards):
        raise UserError(
            f"config.batch_size: {config.batch_size} rows can't be shared out evenly among "
            f"{config.microbatches} microbatch(es) on {shards} device(s) of data and fsdp; "
            f"take a multiple of {config.microbatches * shards}"
        )
    if config.length % mesh.shape["sequence"]:
        raise UserError(
            f"config.length: {config.length} tokens can't be shared out evenly among "
            f"{mesh.shape['sequence']} devices of sequence"
        )


def _check_model(config: TrainConfig, model: StoredModel) -> None:
    if config.length > model.config.max_position:
        raise UserError(
            f"config.length: {config.length} is beyond the {model.config.max_position} positions "
            f"of {config.model}"
        )
    tokens = model.require_tokenizer().vocab_size
    if tokens > model.config.vocab_size:
        raise UserError(
            f"{config.model}: its tokenizer has {tokens} tokens, its config.json says "
            f"vocab_size {model.config.vocab_size}; they don't belong together"
        )


def _charter(config: TrainConfig) -> list[Parent]:
    """The charter as a parent; a UserError where it isn't one."""
    if not config.charter:
        return []
    load_charter(config.charter)
    return charter_parents(config.charter)


def _read_through(
    sources: list[Source],
    measured: Measured,
    config: TrainConfig,
    model: StoredModel,
    workdir: Path,
) -> None:
    """What a run began with was read through then, and is the same."""
    if not (workdir / SOURCES).is_file():
        read_through(sources, measured.data, config, model.require_tokenizer())


def _check_parents(workdir: Path, parents: list[Parent]) -> None:
    """A run goes on with what it began with, or not at all."""
    if not (workdir / SOURCES).is_file():
        return
    recorded = as_shipped_now(read_sources(workdir))
    begun = {(one.role, one.reference, one.hash) for one in recorded}
    for parent in parents:
        if (parent.role, parent.reference, parent.hash) not in begun:
            raise UserError(
                f"{parent.reference}: changed since the run in {workdir} began with it; "
                "choose another workdir"
            )
