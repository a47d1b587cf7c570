"""What a run is made from, checked as a whole before anything is written."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
from jax.sharding import Mesh

from vcjax.charter.load import as_shipped_now, charter_parents, load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import replaced_folder, write_json
from vcjax.core.lineage import Parent
from vcjax.data.overlap import HeldOutRecords, left_uncompared
from vcjax.data.prepared import Prepared
from vcjax.model.attention.packed import choose_backend
from vcjax.parallel import ending_together, is_main_process, make_mesh, on_main_process
from vcjax.text.templates import END_OF_TURN, default_template
from vcjax.text.tokenizer import Tokenizer
from vcjax.train.config import TrainConfig
from vcjax.train.data import Source, check_sources, held_out_by
from vcjax.train.evaluation import PROMPTS, check_prompts
from vcjax.train.offload import check_offload
from vcjax.train.optim import check_groups
from vcjax.train.sinks import check_sink
from vcjax.train.validation_data import FIELD, GroupSource, check_raw_groups, check_validation_data
from vcjax.weights.load import open_model
from vcjax.weights.model import LoadedModel, StoredModel, write_companions
from vcjax.weights.resolve import resolve
from vcjax.weights.workdir import MODEL, SOURCES, as_begun, read_sources, verified_once


@dataclass(frozen=True)
class ValidationInputs:
    """`config.validation`, checked: the data to measure on and the prompts to answer, if any."""

    data: GroupSource
    prompts: tuple[str, ...]
    parents: tuple[Parent, ...]


@dataclass(frozen=True)
class Inputs:
    """What `check_inputs` found.

    Attributes:
      model: the base model; its tensors are read when the run needs them.
      sources: data to train on.
      validation: data to measure on.
      parents: all of it, for the lineage; complete in the main process alone.
    """

    mesh: Mesh
    model: StoredModel
    sources: list[Source]
    validation: ValidationInputs
    parents: list[Parent]


def check_inputs(config: TrainConfig, workdir: Path) -> Inputs:
    """Opens the model and the data, and checks all of it against the config.

    The main process reads the data through before a run begins, while the others wait.

    Raises:
      UserError: an input that doesn't fit, or that changed since the run began.
    """
    reference = on_main_process(lambda: _model_reference(config, workdir))
    steps = on_main_process(lambda: _verified_steps(reference))
    # Each process checks what it can see; a mistake that one of them finds must end all.
    with ending_together(), verified_once(steps):
        mesh = make_mesh(config.to_dict()["mesh"])
        _check_batch(config, mesh)
        check_offload(config, list(mesh.devices.flat))
        check_sink(config.sink)
        parents = _charter(config)
        model = open_model(reference)
        _check_model(config, model)
        choose_backend(config.attention, model.config, config.dtype, mesh, config.length)
        check_groups(config, model.config)
        sources = check_sources(config, model.require_tokenizer(), workdir)
        validation = check_validation(config, model, workdir)
    parents = [model.origin, *parents, *(one for source in sources for one in source.parents)]
    parents += validation.parents
    # The main process alone hashes the data, so only there the list is whole.
    on_main_process(lambda: _check_parents(workdir, parents))
    on_main_process(lambda: _read_data(sources, validation, config, model, workdir))
    return Inputs(mesh, model, sources, validation, parents)


def check_validation(config: TrainConfig, model: StoredModel, workdir: Path) -> ValidationInputs:
    """Reads what `config.validation` names; writes nothing.

    Raises:
      UserError: see `check_validation_data` and `check_prompts`.
    """
    given, inputs = config.validation, ValidationInputs(GroupSource(), (), ())
    if given.data.strip():
        data = check_validation_data(config, model.require_tokenizer(), workdir)
        inputs = ValidationInputs(data, (), data.parents)
    if given.prompts.strip():
        prompts = check_prompts(config, model)
        parents = (*inputs.parents, Parent.of(PROMPTS, given.prompts))
        inputs = replace(inputs, prompts=prompts, parents=parents)
    return inputs


def read_through(
    sources: list[Source], validation: GroupSource, config: TrainConfig, tokenizer: Tokenizer
) -> None:
    """Reads all data of a run that is about to begin, record by record; writes nothing.

    Prepared folders are read where there is something to compare them with.

    Raises:
      UserError: a file that is unreadable, a bad record, or a record that is both trained and
        measured on.
    """
    held_out = HeldOutRecords(config.validation.similarity, tokenizer)
    try:
        check_raw_groups(validation, config, held_out.add)
        for group in validation.ready:
            held_out.add_prepared(group.rows)
            _report(FIELD, group.rows, config)
        for source in sources:
            _read_source(source, held_out, config)
    finally:
        held_out.close()


def write_model_files(workdir: Path, model: StoredModel | LoadedModel, *, chat: bool) -> None:
    """Writes `workdir/model`, as a whole: the files beside the weights of the trained model.

    They are its config, tokenizer, chat template and generation defaults.

    Args:
      chat: the run trains on conversations. A model without a chat template then gets the one
        that they are rendered in; and it ends its turns where its template ends them.
    """
    if (workdir / MODEL).is_dir():
        return
    tokenizer = model.require_tokenizer()
    if chat:
        template = tokenizer.chat_template or default_template(tokenizer)
        tokenizer = tokenizer.with_template(template)
        core = tokenizer.backend.backend_tokenizer
        found = (core.token_to_id(token) for token in END_OF_TURN if token in template)
        ends = [*model.eos_ids, *(end for end in found if end is not None)]
        generation = {**model.generation_config, "eos_token_id": list(dict.fromkeys(ends))}
        model = replace(model, tokenizer=tokenizer, generation_config=generation)
    with replaced_folder(workdir / MODEL) as folder:
        write_json(folder / "config.json", model.config.to_hf(model.stored_dtype))
        write_companions(folder, model)


def _model_reference(config: TrainConfig, workdir: Path) -> str:
    """The base model as the run began with it: several processes load one commit of a hub's."""
    reference = as_begun(config.model, workdir)
    return reference if jax.process_count() == 1 else resolve(reference).reference


def _verified_steps(reference: str) -> dict[str, int]:
    """The checkpoint of each training run that the base model comes from, verified."""
    with verified_once({}) as steps:
        open_model(reference)
    return steps


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
            f"{config.model}: its tokenizer has {tokens} tokens, the vocab_size of its config.json "
            f"is {model.config.vocab_size}; they don't belong together"
        )


def _charter(config: TrainConfig) -> list[Parent]:
    """The charter as a parent, which the main process alone hashes; a UserError where it isn't one.

    Every process reads it: it names the domains that a prepared folder may not have.
    """
    if not config.charter:
        return []
    load_charter(config.charter)
    return charter_parents(config.charter) if is_main_process() else []


def _check_parents(workdir: Path, parents: list[Parent]) -> None:
    """A run continues with exactly the inputs that it began with."""
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


def _read_data(
    sources: list[Source],
    validation: ValidationInputs,
    config: TrainConfig,
    model: StoredModel,
    workdir: Path,
) -> None:
    """Only when a run begins: afterwards its data is known to be the same."""
    if not (workdir / SOURCES).is_file():
        read_through(sources, validation.data, config, model.require_tokenizer())


def _read_source(source: Source, held_out: HeldOutRecords, config: TrainConfig) -> None:
    found, first = 0, ""
    for part in source.prepared if held_out.count else ():
        _report(source.field, part, config)
        for what in held_out.find_prepared(part):
            found, first = found + 1, first or f" ({what})"
    untrained = held_out_by(config)
    # Raw records are read though there may be nothing to compare: a bad one ends the run now, not
    # when it prepares them.
    for record in source.raw or ():
        if not held_out.count or (untrained is not None and untrained.is_held_out(record)):
            continue
        if (what := held_out.find(record)) is not None:
            found, first = found + 1, first or f" ({what})"
    if found:
        raise UserError(
            f"config.{source.field}: {found} of its records are in config.{FIELD} too{first}, "
            f"word for word or with a similarity of {config.validation.similarity} or more; "
            "remove them from one of the two"
        )


def _report(field: str, part: Prepared, config: TrainConfig) -> None:
    """Prints what isn't compared, for the person who starts the run."""
    if (what := left_uncompared(part, config.validation.similarity)) is not None:
        print(
            f"config.{field}: {part.folder} was prepared by an earlier version: {what} between "
            "training and validation; prepare it again",
            file=sys.stderr,
        )
