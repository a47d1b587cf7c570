"""Training, all of it: one loop for every stage, read from top to bottom."""

from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

from vcjax.core.errors import Preempted
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.lineage import hash_files, write_lineage
from vcjax.core.run import check_config, opened
from vcjax.core.seeds import derive_seed
from vcjax.core.spool import Spool, spooled
from vcjax.core.stores import reached
from vcjax.data.loader import Batches
from vcjax.parallel import entered_on_main_process, leads, on_main_process
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.config import TrainConfig
from vcjax.train.guard import SkipGuard
from vcjax.train.inputs import check_inputs
from vcjax.train.measuring import Measuring
from vcjax.train.metrics import SUMMARY, Log, read_last, read_metrics, summarise
from vcjax.train.placement import place_batch
from vcjax.train.preemption import watched
from vcjax.train.profiling import profiled
from vcjax.train.start import start
from vcjax.train.step import make_step
from vcjax.train.throughput import Clock, peak_flops, run_flops, speeds
from vcjax.weights.steps import is_checkpoint
from vcjax.weights.workdir import read_sources

EXTENDABLE = ("steps",)
PROFILED = (3, 5)
"""First and last step of a start that a profile has; the first two compile and warm up."""


def train(config: TrainConfig, workdir: str | Path, *, profile: bool = False) -> dict[str, Any]:
    """Trains until `config.steps` steps are done, from wherever an earlier start has stopped.

    A finished run is extended by more `steps`; the schedule is then that of the longer run, from
    the first step of the extension on. A step's batch is a function of seed and step, and
    checkpoints hold all state, so a run that is killed and started again ends with the same
    parameters as one that isn't.

    Args:
      profile: write a trace of a few steps into `workdir/profile`.

    Returns:
      The summary: see `vcjax.train.metrics.summarise`, and what was measured on held-out data.

    Raises:
      UserError: an input that doesn't hold; nothing has been written then.
      GateNotMet: too many losses or gradients in a row that aren't finite; the checkpoints before
        them are kept.
      Preempted: a SIGTERM or Ctrl-C; the steps until then are saved.
    """
    home = reached(workdir)
    if (summary := on_main_process(lambda: _finished(config, home))) is not None:
        return summary
    with spooled(home, is_checkpoint, jax.process_index()) as spool:
        return _train(config, spool, profile=profile)


def _train(config: TrainConfig, spool: Spool, *, profile: bool) -> dict[str, Any]:
    home, workdir = spool.home, spool.local
    inputs = check_inputs(config, workdir)
    mesh, rules, model = inputs.mesh, inputs.rules, inputs.model.config

    with (
        entered_on_main_process(lambda: opened(workdir, config.to_dict(), EXTENDABLE)),
        Checkpoints(workdir, config.keep, config.keep_best, spool) as saved,
        watched() as requested,
    ):
        # -----------------------------------------------------------------------------------------
        # Where the run stands, what a step does, what is measured of it.
        # -----------------------------------------------------------------------------------------
        run = start(config, spool, inputs, saved)
        del inputs
        done, trainable, state, frozen = run.done, run.trainable, run.state, run.frozen
        step = make_step(
            run.layout, run.loss, run.optimizer, run.schedule, config.microbatches, mesh, rules
        )
        batches = Batches(run.parts, config.batch_size, derive_seed(config.seed, "batches"))
        measuring = Measuring(config, run.validation, run.answers, workdir, done)
        earlier = on_main_process(lambda: read_last(workdir, done, config.max_skipped + 1))
        guard = SkipGuard(config.max_skipped, earlier, done)
        flops, peak = run_flops(model, config), peak_flops(config.dtype)
        left = 0 if measuring.stopping.stopped is not None else config.steps - done
        del run  # what a step is given is its own, to be used for its results
        first, last = (done + step for step in PROFILED)
        quiet = not leads()
        bar = tqdm(total=config.steps, initial=done, unit="step", desc=config.stage, disable=quiet)

        # -----------------------------------------------------------------------------------------
        # The loop.
        # -----------------------------------------------------------------------------------------
        with (
            bar,
            entered_on_main_process(lambda: Log(workdir, done, config.sink)) as log,
            profiled(workdir, first, last) if profile else nullcontext(_ignore) as at,
        ):
            at(done, trainable)
            if not done and measuring.due(0):
                measuring.measure(0, trainable, frozen, log)
            clock = Clock()
            for count, batch in clock.waiting(islice(batches.prefetch(done), left)):
                placed = place_batch(batch, mesh, rules)
                trainable, state, measured = step(
                    trainable, state, frozen, placed, jnp.int32(count)
                )
                done = count + 1
                at(done, measured)
                line = {"step": done, **{name: value.item() for name, value in measured.items()}}
                line |= speeds(line["tokens"], *clock.lap(), flops, peak)
                if log is not None:
                    log.write(line)
                guard.check(line)

                with clock.paused():
                    loss = None
                    if measuring.due(done):
                        loss = measuring.measure(done, trainable, frozen, log)
                    ends = done == config.steps or measuring.stopping.stopped is not None
                    asked = requested(done)
                    if ends or asked is not None or done % config.checkpoint_every == 0:
                        saved.save(done, trainable, state, loss)
                speed = f"{line['tokens_per_second']:.0f}"
                bar.set_postfix({"loss": f"{line['loss']:.4f}", "tokens/s": speed}, refresh=False)
                bar.update()
                if ends:
                    break
                if asked is not None:
                    saved.wait()
                    stopped = f"{home}: stopped by {asked.name} at step {done}"
                    raise Preempted(f"{stopped}; the same command continues", asked)

        # -----------------------------------------------------------------------------------------
        # The end: what the run was, and where it came from.
        # -----------------------------------------------------------------------------------------
        saved.wait()
        return on_main_process(lambda: _finish(config, spool, measuring, saved))


def _finished(config: TrainConfig, workdir: Path) -> dict[str, Any] | None:
    """The summary of a run that has come to its end, lineage included.

    Raises:
      UserError: the workdir has a run of another config.
    """
    check_config(workdir, config.to_dict(), EXTENDABLE)
    if not (workdir / LINEAGE).is_file() or not (workdir / SUMMARY).is_file():
        return None
    summary = read_json(workdir / SUMMARY)
    if "stopped_early" not in summary and summary["steps"] != config.steps:
        return None
    print(f"{workdir}: already finished ({summary['steps']} steps)")
    return summary


def _finish(
    config: TrainConfig, spool: Spool, measuring: Measuring, saved: Checkpoints
) -> dict[str, Any]:
    """Writes what the run was, and where it came from."""
    workdir = spool.local
    summary = summarise(config.stage, read_metrics(workdir)) | measuring.summary()
    write_json(workdir / SUMMARY, summary)
    spool.push()  # all that the lineage names, before it
    write_lineage(
        workdir,
        kind="train",
        parents=read_sources(workdir, spool.home),
        config=config.to_dict(),
        seed=config.seed,
        target=spool.home,
        files=hash_files(workdir) | saved.hashes() if spool.is_remote else None,
    )
    spool.push()
    return summary


def _ignore(_step: int, _arrays: Any) -> None:
    """Stands for `profiled` where no profile is wanted."""
