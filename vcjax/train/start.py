"""A run at its start: files in the workdir, data as rows, arrays on the devices."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import optax

from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.spool import Spool
from vcjax.data.prepared import Prepared
from vcjax.model.build import Params
from vcjax.parallel import leads, meet
from vcjax.train.answers import Answers
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.config import TrainConfig
from vcjax.train.inputs import Inputs
from vcjax.train.metrics import SUMMARY
from vcjax.train.objective import Loss, make_loss
from vcjax.train.optim import Optimizer, make_optimizer, make_schedule
from vcjax.train.reference import FOLDER as REFERENCE
from vcjax.train.reference import with_reference
from vcjax.train.sources import DATA, prepare_sources
from vcjax.train.state import Layout, init_adapters, make_layout, sharding_of
from vcjax.train.static import write_static
from vcjax.train.validation import Validation
from vcjax.train.validation_data import datasets, prepare_groups, with_datasets
from vcjax.weights.adapters import join
from vcjax.weights.sharded import load_sharded
from vcjax.weights.stored import StoredModel
from vcjax.weights.workdir import SOURCES, write_sources


@dataclass(frozen=True)
class Start:
    """All that the loop needs.

    Attributes:
      done: steps that an earlier start has done.
      trainable, state: at that step. The loop donates them, so they are taken from here once.
      frozen: the parameters that aren't trained; empty in full fine-tuning.
      parts: prepared rows and their weights.
      validation, answers: what to measure with, or None.
    """

    layout: Layout
    loss: Loss
    optimizer: Optimizer
    schedule: optax.Schedule
    done: int
    trainable: Params
    state: Any
    frozen: Params
    parts: list[tuple[Prepared, float]]
    validation: Validation | None
    answers: Answers | None


def start(config: TrainConfig, spool: Spool, inputs: Inputs, saved: Checkpoints) -> Start:
    """Writes what stands in the workdir from the start, prepares raw data, places the model.

    The state is that of the last checkpoint, else that of the base model. Where an objective has a
    reference, it is computed here.
    """
    mesh, rules, model, workdir = inputs.mesh, inputs.rules, inputs.model, spool.local
    _write_files(config, spool, inputs)
    shared = partial(share, spool)
    shared("workdir begun")
    tokenizer = model.require_tokenizer()
    parts = prepare_sources(inputs.sources, config, tokenizer, workdir, shared)
    groups = prepare_groups(inputs.measured.data, config, tokenizer, workdir, shared)

    optimizer, loss = make_optimizer(config), make_loss(config)
    layout = make_layout(model.config, config, optimizer, mesh, rules)
    frozen = load_sharded(model.source, model.config, layout.frozen) if config.adapters else {}
    if config.objective == "dpo":
        training = {f"training-{number:03}": part for number, (part, _) in enumerate(parts)}
        referred = with_reference(
            {**training, **datasets(groups)},
            workdir / DATA / REFERENCE,
            lambda: join(_first(config, model, layout), frozen),
            layout.graph,
            config.batch_size // config.microbatches,
            mesh,
            rules,
        )
        weights = (weight for _, weight in parts)
        parts = [(referred[name], weight) for name, weight in zip(training, weights, strict=True)]
        groups = with_datasets(groups, referred)

    if (resumed := saved.restore_latest(layout)) is not None:
        done, trainable, state = resumed
    else:
        done, trainable = 0, _first(config, model, layout)
        state = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))(trainable)
    validation = Validation(groups, config, layout, loss, mesh, rules) if groups else None
    prompts = inputs.measured.prompts
    answers = Answers(prompts, config, model.config, workdir) if prompts else None
    return Start(
        layout,
        loss,
        optimizer,
        make_schedule(config),
        done,
        trainable,
        state,
        frozen,
        parts,
        validation,
        answers,
    )


def share(spool: Spool, place: str) -> None:
    """Waits until every process has come to `place`; all of them have what the main one wrote."""
    if leads():
        spool.push()
    meet(place)
    if not leads():
        spool.pull()


def _write_files(config: TrainConfig, spool: Spool, inputs: Inputs) -> None:
    """None of them is left of a finished run that is being extended."""
    if not leads():
        return
    workdir = spool.local
    for name in (LINEAGE, SUMMARY):
        spool.remove(name)
    if not (workdir / SOURCES).is_file():
        write_sources(workdir, inputs.parents, spool.home)
    write_static(workdir, inputs.model, chat=config.kind != "documents")


def _first(config: TrainConfig, model: StoredModel, layout: Layout) -> Params:
    """What is trained, before the first step."""
    if config.adapters:
        return init_adapters(model.config, config, layout.trainable)
    return load_sharded(model.source, model.config, layout.trainable)
