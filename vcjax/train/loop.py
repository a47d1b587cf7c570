"""The training loop: one for every stage, read from top to bottom.

`train` is a whole run, from the check of its inputs to its lineage. What it calls for each batch is
in `vcjax.train.step`.
"""

from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vcjax.core.errors import Preempted
from vcjax.core.files import check_folder_path, read_json, write_json
from vcjax.core.lineage import hash_files
from vcjax.core.progress import Progress
from vcjax.core.run import SUMMARY, Run
from vcjax.core.seeds import derive_seed
from vcjax.core.spool import Spool, spooled
from vcjax.core.stores import check_for_checkpoints, reached
from vcjax.data.loader import Batches
from vcjax.model.build import Params
from vcjax.model.lora import join_params
from vcjax.parallel import (
    barrier,
    entered_on_main_process,
    is_main_process,
    on_main_process,
)
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.config import TrainConfig
from vcjax.train.data import DATA, prepare_sources, print_rows
from vcjax.train.evaluation import Evaluation, Samples, ValidationLoss
from vcjax.train.inputs import Inputs, check_inputs, write_model_files
from vcjax.train.layout import (
    Layout,
    init_adapters,
    local_rows,
    make_layout,
    shard_batch,
    sharding_of,
)
from vcjax.train.logging import Log, read_last, read_metrics, summarise
from vcjax.train.losses import make_loss
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.reference import FOLDER as REFERENCE
from vcjax.train.reference import add_references
from vcjax.train.step import make_step
from vcjax.train.stopping import SkipGuard, stop_requests
from vcjax.train.throughput import Clock, peak_flops, profiled, run_flops, speeds
from vcjax.train.validation_data import prepare_groups
from vcjax.weights.model import StoredModel
from vcjax.weights.sharded import load_sharded
from vcjax.weights.steps import is_checkpoint
from vcjax.weights.workdir import read_sources, write_sources

EXTENDABLE = ("steps",)
PROFILED = (3, 5)
"""First and last step after a start that a profile has; the first two compile and warm up."""


def train(
    config: TrainConfig, workdir: str | Path, *, profile: bool = False, show_rows: int = 0
) -> dict[str, Any]:
    """Trains until `config.steps` steps are done, from wherever an earlier start has stopped.

    A finished run is extended by more `steps`; the schedule is then that of the longer run, from
    the first step of the extension on. A step's batch is a function of seed and step, and
    checkpoints have all state, so a run that is killed and started again ends with the same
    parameters as one that isn't.

    Args:
      profile: write a trace of a few steps into `workdir/profile`.
      show_rows: how many rows of each data set are printed, coloured by the loss mask.

    Returns:
      The summary: see `vcjax.train.logging.summarise`, and `Evaluation.summary`.

    Raises:
      UserError: an input is wrong; nothing has been written then.
      GateNotMet: too many losses or gradients in a row aren't finite; the checkpoints before them
        are kept.
      Preempted: a SIGTERM or Ctrl-C; the steps until then are saved.
    """
    check_for_checkpoints(workdir)
    home = reached(workdir)
    run = _run(config, home, stopped_early=on_main_process(lambda: _stopped_early(home)))
    if (summary := on_main_process(lambda: run.finished(count="steps"))) is not None:
        return summary
    with spooled(home, is_checkpoint, jax.process_index()) as spool:
        return _train(config, run, spool, profile=profile, show_rows=show_rows)


def _train(
    config: TrainConfig, run: Run, spool: Spool, *, profile: bool, show_rows: int
) -> dict[str, Any]:
    workdir = spool.local
    inputs = check_inputs(config, workdir)
    mesh, model = inputs.mesh, inputs.model

    # In this order: the folder is locked before anything in `checkpoints` is cleared, and on the
    # way out the last save is waited for before the lock goes.
    with (
        entered_on_main_process(lambda: run.opened(spool)),
        Checkpoints(workdir, config.keep, config.keep_best, spool) as checkpoints,
        stop_requests() as requested,
    ):
        # -----------------------------------------------------------------------------------------
        # Data as rows; raw files are prepared by the first start.
        # -----------------------------------------------------------------------------------------
        _write_files(config, spool, inputs)
        shared = partial(_share, spool)
        shared("workdir begun")
        tokenizer = model.require_tokenizer()
        parts = prepare_sources(inputs.sources, config, tokenizer, workdir, shared)
        if show_rows:
            on_main_process(partial(print_rows, parts, tokenizer, show_rows))
        groups = prepare_groups(inputs.validation.data, config, tokenizer, workdir, shared)

        # -----------------------------------------------------------------------------------------
        # Parameters and the optimiser's state: the last checkpoint's, else those of step 0.
        # -----------------------------------------------------------------------------------------
        loss, optimizer, schedule = make_loss(config), make_optimizer(config), make_schedule(config)
        layout = make_layout(model.config, config, optimizer, mesh)
        frozen = load_sharded(model.source, model.config, layout.frozen) if config.adapters else {}
        if config.objective == "dpo":
            parts, groups = add_references(
                parts,
                groups,
                workdir / DATA / REFERENCE,
                initial=partial(_whole_initial, config, model, layout, frozen),
                graph=layout.graph,
                pairs=config.batch_size // config.microbatches,
                mesh=layout.mesh,
                requested=requested,
            )
        if (resumed := checkpoints.restore_latest(layout)) is not None:
            done, trainable, state = resumed
        else:
            done, trainable = 0, _initial(config, model, layout)
            # Compiled with its shardings, so that no device ever makes a whole state.
            state = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))(trainable)
        step = make_step(layout, loss, optimizer, schedule, config.microbatches)

        # -----------------------------------------------------------------------------------------
        # What is measured, and what ends the run before its last step.
        # -----------------------------------------------------------------------------------------
        validation = ValidationLoss(groups, config, layout, loss) if groups else None
        prompts = inputs.validation.prompts
        samples = Samples(prompts, config, model.config, workdir) if prompts else None
        evaluation = Evaluation(config, validation, samples, workdir, done)
        earlier = on_main_process(lambda: read_last(workdir, done, config.max_skipped + 1))
        guard = SkipGuard(config.max_skipped, earlier, done)
        flops, peak = run_flops(model.config, config), peak_flops(config.dtype)
        rows = local_rows(mesh, config.batch_size)
        batches = Batches(parts, config.batch_size, derive_seed(config.seed, "batches"), rows)
        # A run that was killed after it had stopped early has nothing left but its end.
        left = 0 if evaluation.stopping.stopped is not None else config.steps - done
        first, last = (done + step for step in PROFILED)
        quiet = not is_main_process()
        bar = Progress(
            total=config.steps, initial=done, unit="steps", desc=config.stage, disable=quiet
        )
        # The step donates its arguments and reuses their memory, so nothing else may refer to them;
        # nor is the base model read any more.
        del resumed, inputs, model

        # -----------------------------------------------------------------------------------------
        # The loop.
        # -----------------------------------------------------------------------------------------
        with (
            bar,
            entered_on_main_process(lambda: Log(workdir, done, config.sink)) as log,
            profiled(workdir, first, last) if profile else nullcontext(_ignore) as at,
        ):
            at(done, trainable)
            if not done and evaluation.due(0):
                evaluation.measure(0, trainable, frozen, log)
            clock = Clock()
            for count, batch in clock.waiting(islice(batches.prefetch(done), left)):
                sharded = shard_batch(batch, mesh, config.batch_size)
                trainable, state, metrics = step(
                    trainable, state, frozen, sharded, jnp.int32(count)
                )
                done = count + 1
                at(done, metrics)
                # `item` waits for the devices: without it the clock would measure how fast steps
                # are dispatched. Batches are made by a thread meanwhile.
                line = {"step": done, **{name: value.item() for name, value in metrics.items()}}
                line |= speeds(line["tokens"], *clock.lap(), flops, peak)
                # Before anything can end the run: a later start counts skipped updates in this
                # file, and drops the lines after the checkpoint that it continues from.
                if log is not None:
                    log.write(line)
                guard.check(line)

                with clock.paused():
                    # Before the save: a checkpoint's validation loss decides whether it is among
                    # the best that are kept.
                    measured = None
                    if evaluation.due(done):
                        measured = evaluation.measure(done, trainable, frozen, log)
                    ends = done == config.steps or evaluation.stopping.stopped is not None
                    signal = requested()
                    if ends or signal is not None or done % config.checkpoint_every == 0:
                        checkpoints.save(done, trainable, state, measured)
                speed = f"{line['tokens_per_second']:.0f}"
                bar.set_postfix({"loss": f"{line['loss']:.4f}", "tokens/s": speed}, refresh=False)
                bar.update()
                if ends:
                    break
                if signal is not None:
                    checkpoints.wait()
                    stopped = f"{spool.home}: stopped by {signal.name} at step {done}"
                    raise Preempted(f"{stopped}; the same command continues", signal)

        # -----------------------------------------------------------------------------------------
        # The end: the summary, and the lineage last.
        # -----------------------------------------------------------------------------------------
        checkpoints.wait()
        return on_main_process(lambda: _finish(config, run, spool, evaluation, checkpoints))


def _stopped_early(home: Path) -> bool:
    """Whether the workdir has a run that stopped early. Raises: UserError, it can be no folder."""
    check_folder_path(home)
    summary = home / SUMMARY
    return summary.is_file() and "stopped_early" in read_json(summary)


def _run(config: TrainConfig, home: Path, *, stopped_early: bool) -> Run:
    """One that stopped early is finished, however many more steps are asked for."""
    fields: Any = {"deferred" if stopped_early else "extendable": EXTENDABLE}
    return Run("train", home, config.to_dict(), seed=config.seed, **fields)


def _write_files(config: TrainConfig, spool: Spool, inputs: Inputs) -> None:
    """Writes what is in the workdir from the start; a run that is extended has no summary yet."""
    if not is_main_process():
        return
    spool.remove(SUMMARY)
    write_sources(spool.local, inputs.parents, spool.home)
    write_model_files(spool.local, inputs.model, chat=config.kind != "documents")


def _share(spool: Spool, what: str) -> None:
    """Waits for every process; all of them have what the main one wrote then."""
    if is_main_process():
        spool.push()
    barrier(what)
    if not is_main_process():
        spool.pull()


def _initial(config: TrainConfig, model: StoredModel, layout: Layout) -> Params:
    """What is trained, before the first step."""
    if config.adapters:
        return init_adapters(model.config, config, layout.trainable)
    return load_sharded(model.source, model.config, layout.trainable)


def _whole_initial(
    config: TrainConfig, model: StoredModel, layout: Layout, frozen: Params
) -> Params:
    return join_params(_initial(config, model, layout), frozen)


def _finish(
    config: TrainConfig, run: Run, spool: Spool, evaluation: Evaluation, checkpoints: Checkpoints
) -> dict[str, Any]:
    workdir = spool.local
    summary = summarise(config.stage, read_metrics(workdir)) | evaluation.summary()
    write_json(workdir / SUMMARY, summary)
    # Checkpoints are in the store alone, and were hashed when they were saved.
    files = hash_files(workdir) | checkpoints.hashes() if spool.is_remote else None
    run.finish(read_sources(workdir, spool.home), files)
    return summary


def _ignore(_step: int, _arrays: Any) -> None:
    """Instead of what `profiled` yields, where no profile is wanted."""
