"""A run's checkpoints: what is trained and the optimiser's state, saved while the run goes on."""

import errno
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from vcjax.foundation.files import hash_file, read_json, write_json
from vcjax.foundation.lineage import list_files, write_lineage
from vcjax.model.build import Params
from vcjax.parallel import leads, meet
from vcjax.train.state import Layout
from vcjax.weights.steps import (
    CHECKPOINTS,
    META,
    PARAMS,
    check_tree,
    flaw,
    newest_good,
    saved_steps,
    step_folder,
)
from vcjax.weights.workdir import read_sources

OPTIMIZER = "optimizer"
_TIMEOUT = 3600
"""Seconds after which a process no longer waits for the others to have written their parts."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """Numbered by the steps that are done. A context manager, which waits for the last save.

    A checkpoint is written under a hidden name, hashed, and renamed: `checkpoints/STEP` is there
    whole or not at all. Where several processes train together, all of them call the same methods
    in the same order; each writes, hashes and verifies its own part, in a folder that all see.
    """

    def __init__(self, workdir: Path, keep: int, keep_best: int = 0) -> None:
        """Opens `workdir/checkpoints`, making it if need be; reports what a kill left unfinished.

        Args:
          keep: latest checkpoints that stay.
          keep_best: checkpoints that stay for their validation loss, among those or not.
        """
        self._workdir, self._keep, self._keep_best = workdir, keep, keep_best
        # Uncompressed: zstd would save 8 % of trained arrays and cost the step a core.
        parts = ocp.CompositeCheckpointHandler(
            params=ocp.PyTreeCheckpointHandler(use_compression=False),
            optimizer=ocp.PyTreeCheckpointHandler(use_compression=False),
        )
        self._writer = ocp.AsyncCheckpointer(parts, timeout_secs=_TIMEOUT)
        self._barrier = ocp.multihost.get_barrier_sync_fn()
        self._background = ThreadPoolExecutor(1, "checkpoint")
        self._pending: tuple[int, Future[None]] | None = None
        if leads():
            self._clear()
        meet("checkpoints opened")

    @property
    def best(self) -> int | None:
        """Of the steps kept, the one with the lowest validation loss; the first of equals."""
        return next(iter(self._by_loss()), None)

    def save(self, step: int, trainable: Params, state: Any, loss: float | None = None) -> None:
        """Returns when the arrays are copied: they may be donated, and the run may go on.

        Args:
          loss: the validation loss at this step, where it was measured.

        Raises:
          OSError: this save, or the one before it, failed for a reason of the machine's, such as a
            full disk. The checkpoints before it are untouched.
        """
        self.wait()
        items = {PARAMS: trainable, OPTIMIZER: state}
        self._check_room(step, items)
        saves = {name: ocp.args.PyTreeSave(item) for name, item in items.items()}
        with self._explained(step):
            self._writer.save(self._partial(step).resolve(), args=ocp.args.Composite(**saves))
        self._pending = step, self._background.submit(self._commit, step, loss)

    def wait(self) -> None:
        """Returns when all that was saved is on disk. Raises what `save` does."""
        if self._pending is not None:
            (step, commit), self._pending = self._pending, None
            with self._explained(step):
                commit.result()

    def restore_latest(self, layout: Layout) -> tuple[int, Params, Any] | None:
        """Reads `(step, trainable, optimiser state)` onto the layout, whatever mesh wrote them.

        Later checkpoints that aren't as they were saved are reported and moved to hidden folders.

        Returns:
          None where nothing has been saved yet.

        Raises:
          UserError: not one checkpoint is good, or it doesn't fit the layout.
        """
        step, flawed = newest_good(self._workdir, _flaw)
        if step is None:
            return None
        for bad, reason in flawed.items():
            aside = self._hidden(bad, "corrupt")
            _log.warning("%s; moved to %s, step %d is used instead", reason, aside.name, step)
            if leads():
                shutil.rmtree(aside, ignore_errors=True)  # an earlier one, reported then
                step_folder(self._workdir, bad).rename(aside)
        folder, restores = step_folder(self._workdir, step), {}
        for name, item in ((PARAMS, layout.trainable), (OPTIMIZER, layout.optimizer)):
            check_tree(folder / name, item)
            where = ocp.checkpoint_utils.construct_restore_args(item)
            restores[name] = ocp.args.PyTreeRestore(item, restore_args=where)
        found = self._writer.restore(folder.resolve(), args=ocp.args.Composite(**restores))
        return step, found[PARAMS], found[OPTIMIZER]

    def __enter__(self) -> "Checkpoints":
        logging.getLogger("absl").addFilter(_is_news)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._background.shutdown()
            self._writer.close()
            logging.getLogger("absl").removeFilter(_is_news)

    def _commit(self, step: int, loss: float | None) -> None:
        """In the background: waits for the arrays, then makes them a checkpoint."""
        partial, final = self._partial(step), step_folder(self._workdir, step)
        self._writer.wait_until_finished()
        if leads():
            known = loss is not None and math.isfinite(loss)
            write_json(partial / META, {"step": step, "loss": loss if known else None})
        hashes = {n: hash_file(partial / n) for n in list_files(partial) if _mine(n)}
        write_json(partial / _share(jax.process_index()), hashes)
        self._barrier(key=f"hashed checkpoint {step}", timeout_ms=_TIMEOUT * 1000)
        if leads():
            for share in (partial / _share(n) for n in range(jax.process_count())):
                hashes |= read_json(share)
                share.unlink()
            config, parents = read_json(self._workdir / "config.json"), read_sources(self._workdir)
            write_lineage(
                partial,
                kind="checkpoint",
                parents=parents,
                config=config,
                seed=config["seed"],
                target=final,
                files=hashes,
            )
            partial.rename(final)
            self._prune()
        self._barrier(key=f"committed checkpoint {step}", timeout_ms=_TIMEOUT * 1000)

    def _prune(self) -> None:
        there = saved_steps(self._workdir)
        for step in {*there} - {*there[-self._keep :], *self._by_loss()[: self._keep_best]}:
            deleted = self._hidden(step, "deleted")
            step_folder(self._workdir, step).rename(deleted)
            shutil.rmtree(deleted)

    def _by_loss(self) -> list[int]:
        losses = {step: self._loss(step) for step in saved_steps(self._workdir)}
        known = [(loss, step) for step, loss in losses.items() if loss is not None]
        return [step for _, step in sorted(known)]

    def _loss(self, step: int) -> float | None:
        """None too where the file with the loss isn't as it was saved."""
        folder = step_folder(self._workdir, step)
        if flaw(folder, lambda name: name == META) is not None:
            return None
        return read_json(folder / META)["loss"]

    def _check_room(self, step: int, items: Any) -> None:
        """Before anything is written, so that a disk is not filled in vain."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
        free = shutil.disk_usage(self._workdir / CHECKPOINTS).free
        if _anywhere(free < needed):
            sizes = f"a checkpoint takes {needed / 2**20:.1f} MiB, {free / 2**20:.1f} are free"
            reason = f"{os.strerror(errno.ENOSPC)} ({sizes})"
            raise OSError(errno.ENOSPC, reason, str(step_folder(self._workdir, step)))

    @contextmanager
    def _explained(self, step: int) -> Iterator[None]:
        """Names the checkpoint and the system's reason, which TensorStore has in its messages."""
        try:
            yield
        except Exception as error:
            for rest in self._unfinished(step):
                shutil.rmtree(rest, ignore_errors=True)  # some of it may still be being written
            number = re.search(r"os_error_code='(\d+)'", str(error))
            if isinstance(error, OSError) or number is None:
                raise
            code, place = int(number[1]), step_folder(self._workdir, step)
            raise OSError(code, os.strerror(code), str(place)) from error

    def _clear(self) -> None:
        """Removes what earlier starts were writing or deleting when they were stopped."""
        folder = self._workdir / CHECKPOINTS
        folder.mkdir(parents=True, exist_ok=True)
        for rest in self._unfinished("*"):
            _log.warning("%s: the run was stopped while it saved this step; removed", rest)
            shutil.rmtree(rest)
        for rest in folder.glob(".*.deleted"):
            shutil.rmtree(rest)

    def _unfinished(self, step: int | str) -> Iterator[Path]:
        """Orbax adds an ending of its own to the name, until all of its files are there."""
        return (self._workdir / CHECKPOINTS).glob(f".{step}.partial*")

    def _partial(self, step: int) -> Path:
        return self._hidden(step, "partial")

    def _hidden(self, step: int, what: str) -> Path:
        """A place that is no checkpoint, and that lineages leave out."""
        return self._workdir / CHECKPOINTS / f".{step}.{what}"


def _flaw(folder: Path) -> str | None:
    """`flaw`, of which each process reads its part and all come to the same answer."""
    reason = flaw(folder, _mine)
    if _anywhere(reason is not None):
        return reason or f"{folder}: not as it was saved, as another process says"
    return None


def _anywhere(flag: bool) -> bool:
    """Whether any process says so."""
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def _mine(name: str) -> bool:
    """Whether this process hashes a file of a checkpoint: those that it wrote, if it goes on with
    as many as wrote it; the first process has what belongs to none."""
    writer = re.search(r"process_(\d+)/", f"{name}/")
    return (int(writer[1]) if writer else 0) % jax.process_count() == jax.process_index()


def _share(process: int) -> str:
    return f".hashes.{process}.json"


def _is_news(record: logging.LogRecord) -> bool:
    """Orbax logs the traceback of what it then raises."""
    return not (record.exc_info and "orbax" in record.pathname)
