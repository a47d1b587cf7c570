"""Training, all of it: one loop for every stage, read from top to bottom."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

import vcjax.charter
from vcjax.charter.load import SHIPPED, load_charter
from vcjax.data.loader import Batches
from vcjax.foundation.errors import GateNotMet, UserError
from vcjax.foundation.files import read_json, write_json
from vcjax.foundation.lineage import NAME as LINEAGE
from vcjax.foundation.lineage import Parent, write_lineage
from vcjax.foundation.seeds import derive_seed
from vcjax.foundation.workdir import check_config, opened
from vcjax.parallel import ShardingRules, batch_sharding, leads, make_mesh, meet, put
from vcjax.train import metrics
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.config import TrainConfig
from vcjax.train.objective import make_loss
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.sources import check_sources, prepare_sources
from vcjax.train.state import init_adapters, make_layout, place, sharding_of
from vcjax.train.static import write_static
from vcjax.train.step import MEASURED, make_step
from vcjax.weights.bundle import Bundle, load_bundle
from vcjax.weights.workdir import SOURCES, read_sources, write_sources

SUMMARY = "summary.json"
EXTENDABLE = ("steps",)


def train(config: TrainConfig, workdir: str | Path) -> dict[str, Any]:
    """Trains until `config.steps` steps are done, from wherever an earlier start has stopped.

    A finished run is extended by more `steps`; the cosine is then that of the longer run, from
    the first step of the extension on. A step's batch is a function of seed and step, and
    checkpoints hold all state, so a run that is killed and started again ends with the same
    parameters as one that isn't.

    Returns:
      The summary: `stage, steps, first_loss, last_loss, tokens, loss_tokens, seconds`.

    Raises:
      UserError: an input that doesn't hold; nothing has been written then.
      GateNotMet: a loss or gradient that isn't finite; the checkpoints before it are kept.
    """
    workdir = Path(workdir)

    # ---------------------------------------------------------------------------------------------
    # Inputs: all of them are checked before anything is written.
    # ---------------------------------------------------------------------------------------------
    check_config(workdir, config.to_dict(), EXTENDABLE)
    if (summary := _finished(config, workdir)) is not None:
        print(f"{workdir}: already finished ({config.steps} steps)")
        return summary
    mesh, rules = make_mesh(config.to_dict()["mesh"]), ShardingRules()
    _check_batch(config, mesh.shape["data"] * mesh.shape["fsdp"])
    parents = _charter(config)
    bundle = load_bundle(config.model, "float32")
    _check_model(config, bundle)
    tokenizer = bundle.require_tokenizer()
    sources = check_sources(config, tokenizer, workdir)
    parents = [bundle.origin, *parents, *(one for source in sources for one in source.parents)]
    _check_parents(workdir, parents)

    with _held(workdir, config), Checkpoints(workdir, config.keep, config.keep_best) as saved:
        # -----------------------------------------------------------------------------------------
        # Files that stand at the start; none of a finished run that is being extended.
        # -----------------------------------------------------------------------------------------
        if leads():
            for name in (LINEAGE, SUMMARY):
                (workdir / name).unlink(missing_ok=True)
            if not (workdir / SOURCES).is_file():
                write_sources(workdir, parents)
            write_static(workdir, bundle, chat=config.kind == "conversations")
        parts = prepare_sources(sources, config, tokenizer, workdir)

        # -----------------------------------------------------------------------------------------
        # State: from the last checkpoint, else from the base model.
        # -----------------------------------------------------------------------------------------
        optimizer, schedule = make_optimizer(config), make_schedule(config)
        layout = make_layout(bundle.config, config, optimizer, mesh, rules)
        frozen = place(bundle.params, layout.frozen) if config.adapters else {}
        resumed, done = saved.restore_latest(layout), 0
        if resumed is not None:
            done, trainable, state = resumed
        else:
            if config.adapters:
                trainable = init_adapters(bundle.config, config, layout.trainable)
            else:
                trainable = place(bundle.params, layout.trainable)
            init = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))
            state = init(trainable)
        del bundle  # the host's copy of the model
        loss = make_loss(config)
        step = make_step(layout, loss, optimizer, schedule, config.microbatches, mesh, rules)
        rows = batch_sharding(mesh, rules)
        batches = Batches(parts, config.batch_size, derive_seed(config.seed, "batches"))

        # -----------------------------------------------------------------------------------------
        # The loop.
        # -----------------------------------------------------------------------------------------
        quiet = not leads()
        bar = tqdm(total=config.steps, initial=done, unit="step", desc=config.stage, disable=quiet)
        with bar, nullcontext() if quiet else metrics.Log(workdir, done) as log:
            clock = time.perf_counter()
            for count, batch in islice(batches.prefetch(done), config.steps - done):
                placed = {name: put(value, rows) for name, value in batch.items()}
                trainable, state, measured = step(
                    trainable, state, frozen, placed, jnp.int32(count)
                )
                line = {"step": count + 1} | {name: measured[name].item() for name in MEASURED}
                if not math.isfinite(line["loss"]) or not math.isfinite(line["grad_norm"]):
                    raise GateNotMet(
                        f"{workdir}: step {count + 1}: loss {line['loss']}, gradient norm "
                        f"{line['grad_norm']}; lower config.learning_rate or look at the data"
                    )
                seconds = -clock + (clock := time.perf_counter())
                line |= {"seconds": seconds, "tokens_per_second": line["tokens"] / seconds}

                if log is not None:
                    log.write(line)
                if (count + 1) % config.checkpoint_every == 0 or count + 1 == config.steps:
                    saved.save(count + 1, trainable, state)
                speed = f"{line['tokens_per_second']:.0f}"
                bar.set_postfix({"loss": f"{line['loss']:.4f}", "tokens/s": speed}, refresh=False)
                bar.update()

        # -----------------------------------------------------------------------------------------
        # The end: what the run was, and where it came from.
        # -----------------------------------------------------------------------------------------
        saved.wait()
        summary = metrics.summarise(config.stage, metrics.read_metrics(workdir))
        if leads():
            write_json(workdir / SUMMARY, summary)
            begun, run = read_sources(workdir), config.to_dict()
            write_lineage(workdir, kind="train", parents=begun, config=run, seed=config.seed)
        meet("trained")
    return summary


@contextmanager
def _held(workdir: Path, config: TrainConfig) -> Iterator[None]:
    """The workdir, opened by the process that leads; the others come in when it is there."""
    with opened(workdir, config.to_dict(), EXTENDABLE) if leads() else nullcontext():
        meet("workdir opened")
        yield


def _finished(config: TrainConfig, workdir: Path) -> dict[str, Any] | None:
    """The summary of a run that has come to its end, lineage included."""
    if not (workdir / LINEAGE).is_file() or not (workdir / SUMMARY).is_file():
        return None
    summary = read_json(workdir / SUMMARY)
    return summary if summary["steps"] == config.steps else None


def _check_batch(config: TrainConfig, shards: int) -> None:
    if config.batch_size % (config.microbatches * shards):
        raise UserError(
            f"config.batch_size: {config.batch_size} rows can't be shared out evenly among "
            f"{config.microbatches} microbatch(es) on {shards} device(s) of data and fsdp; "
            f"take a multiple of {config.microbatches * shards}"
        )


def _check_model(config: TrainConfig, bundle: Bundle) -> None:
    if config.length > bundle.config.max_position:
        raise UserError(
            f"config.length: {config.length} is beyond the {bundle.config.max_position} positions "
            f"of {config.model}"
        )
    tokens = bundle.require_tokenizer().vocab_size
    if tokens > bundle.config.vocab_size:
        raise UserError(
            f"{config.model}: its tokenizer has {tokens} tokens, its config.json says "
            f"vocab_size {bundle.config.vocab_size}; they don't belong together"
        )


def _charter(config: TrainConfig) -> list[Parent]:
    """The charter as a parent; a UserError where it isn't one."""
    if not config.charter:
        return []
    load_charter(config.charter)
    shipped = Path(vcjax.charter.__file__).parent / "shipped" / f"{config.charter}.yaml"
    path = shipped if config.charter in SHIPPED else Path(config.charter)
    return [Parent.of("charter", path, config.charter)]


def _check_parents(workdir: Path, parents: list[Parent]) -> None:
    """A run goes on with what it began with, or not at all."""
    if not (workdir / SOURCES).is_file():
        return
    begun = {(one.role, one.reference, one.hash) for one in read_sources(workdir)}
    for parent in parents:
        if (parent.role, parent.reference, parent.hash) not in begun:
            raise UserError(
                f"{parent.reference}: changed since the run in {workdir} began with it; "
                "choose another workdir"
            )
