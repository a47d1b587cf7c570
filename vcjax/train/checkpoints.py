"""A run's checkpoints: what is trained and the optimiser's state, saved while the run continues."""

import asyncio
import errno
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import PreservationContext, PreservationPolicy

from vcjax.core.files import hash_file, read_json, write_json
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.lineage import list_files, recorded_files, write_lineage
from vcjax.core.spool import Spool
from vcjax.core.stores import absolute, is_remote, remove_tree
from vcjax.model.build import Params
from vcjax.parallel import barrier, is_main_process
from vcjax.train.layout import Layout
from vcjax.weights.steps import (
    CHECKPOINTS,
    META,
    PARAMS,
    check_tree,
    flaw,
    newest_good,
    saved_steps,
    step_folder,
    unfinished_steps,
)
from vcjax.weights.workdir import read_sources

OPTIMIZER = "optimizer"
_COMMIT = ("_CHECKPOINT_METADATA", "commit_success.txt")
"""What Orbax writes last, when a checkpoint has been hashed: when and that it was committed."""
_TIMEOUT = 3600
"""Seconds after which a process no longer waits for the others to have written their parts."""

_log = logging.getLogger(__name__)


class Checkpoints(PreservationPolicy):
    """Numbered by the steps that are done. A context manager, which waits for the last save.

    Orbax's `CheckpointManager` writes, commits, finds and deletes them: `checkpoints/STEP` is there
    whole or not at all, on a disk and in a store. Before it commits one, the loss and a lineage
    with the hash of every file are added here. Where several processes train together, all of them
    call the same methods in the same order; each writes and verifies its own part, in a folder that
    all see, and the main one hashes.
    """

    def __init__(self, workdir: Path, keep: int, keep_best: int = 0, spool: Spool | None = None):
        """Opens `workdir/checkpoints`, making it if need be; reports what a kill left unfinished.

        Args:
          keep: latest checkpoints that stay.
          keep_best: checkpoints that stay for their validation loss, among those or not.
          spool: of the run, where the workdir is in a store: `workdir` is its local folder, which
            is uploaded before a checkpoint is committed.
        """
        self._spool = spool or Spool(workdir, workdir)
        self._keep, self._keep_best = keep, keep_best
        self._losses: dict[int, float | None] = {}
        folder = absolute(self._home / CHECKPOINTS)
        if is_main_process():
            self._clear()
        # Orbax lists the folder when it is made: on every process after what is cleared is gone.
        barrier("checkpoints opened")
        parts = (PARAMS, OPTIMIZER)
        self._manager = ocp.CheckpointManager(
            folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self,
                async_options=ocp.options.AsyncOptions(timeout_secs=_TIMEOUT),
                temporary_path_class=_completed(folder, self._complete),
                save_root_metadata=False,
                # Otherwise Orbax reads each checkpoint's metadata here, before `restore_latest` has
                # looked for damage.
                lightweight_initialize=True,
            ),
            # Uncompressed: zstd would save 8 % of trained arrays and cost the step a core.
            item_handlers={
                part: ocp.PyTreeCheckpointHandler(use_compression=False) for part in parts
            },
        )

    @property
    def best(self) -> int | None:
        """The kept step with the lowest validation loss; the first of equals."""
        return next(iter(self._by_loss(saved_steps(self._home))), None)

    def save(self, step: int, trainable: Params, state: Any, loss: float | None = None) -> None:
        """Returns when the arrays are copied: they may be donated, and the run may continue.

        Args:
          loss: the validation loss at this step, where it was measured.

        Raises:
          OSError: this save, or the one before it, failed for a reason of the machine's, such as a
            full disk. The checkpoints before it are untouched.
        """
        # One save at a time: an error of the one before it is raised here, not lost, and the host
        # has the memory for one copy of the arrays.
        self.wait()
        items = {PARAMS: trainable, OPTIMIZER: state}
        self._check_room(step, items)
        # Orbax asks for it below, in `should_preserve`, before the checkpoint has a file with it.
        self._losses[step] = loss if loss is not None and math.isfinite(loss) else None
        saves = {name: ocp.args.PyTreeSave(item) for name, item in items.items()}
        with self._explained(step):
            # `force`: the loop decides when to save; Orbax has an interval of its own.
            self._manager.save(step, args=ocp.args.Composite(**saves), force=True)

    def wait(self) -> None:
        """Returns when all that was saved is on disk. Raises what `save` does."""
        with self._explained(self._manager.latest_step()):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def restore_latest(self, layout: Layout) -> tuple[int, Params, Any] | None:
        """Reads `(step, trainable, optimiser state)` onto the layout, whatever mesh wrote them.

        Later checkpoints that aren't as they were saved are reported and moved to hidden folders.

        Returns:
          None where nothing has been saved yet.

        Raises:
          UserError: not one checkpoint is good, or it doesn't fit the layout.
        """
        step, flawed = newest_good(self._home, _flaw)
        if step is None:
            return None
        for bad, reason in flawed.items():
            aside = self._home / CHECKPOINTS / f".{bad}.corrupt"
            _log.warning("%s; moved to %s, step %d is used instead", reason, aside.name, step)
            if is_main_process():
                remove_tree(aside)  # an earlier one, reported then
                # Set aside and not removed, as only its owner knows what it is worth; hidden, so
                # that neither Orbax nor a later start lists it as a step.
                step_folder(self._home, bad).rename(aside)
        barrier("checkpoints checked")
        self._manager.reload()  # it has listed the folders that were moved
        folder, restores = step_folder(self._home, step), {}
        for name, item in ((PARAMS, layout.trainable), (OPTIMIZER, layout.optimizer)):
            check_tree(folder / name, item)
            where = ocp.checkpoint_utils.construct_restore_args(item)
            restores[name] = ocp.args.PyTreeRestore(item, restore_args=where)
        found = self._manager.restore(step, args=ocp.args.Composite(**restores))
        return step, found[PARAMS], found[OPTIMIZER]

    def hashes(self) -> dict[str, str]:
        """SHA-256 of all files of the checkpoints, as they were saved, by name in the workdir."""
        found = {}
        for step in saved_steps(self._home):
            folder = step_folder(self._home, step)
            files = recorded_files(folder)
            files |= {name: hash_file(folder / name) for name in (*_COMMIT, LINEAGE)}
            prefix = folder.relative_to(self._home).as_posix()
            found |= {f"{prefix}/{name}": digest for name, digest in files.items()}
        return found

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: PreservationContext
    ) -> Sequence[bool]:
        """Orbax's question at each save: which checkpoints stay, the one being saved included."""
        steps = sorted(one.step for one in checkpoints)
        # Both rules at once: the latest are there to continue from, the best to be used.
        kept = {*steps[-self._keep :], *self._by_loss(steps)[: self._keep_best]}
        return [one.step in kept for one in checkpoints]

    def __enter__(self) -> "Checkpoints":
        logging.getLogger("absl").addFilter(_is_news)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._manager.close()
            logging.getLogger("absl").removeFilter(_is_news)

    @property
    def _home(self) -> Path:
        return self._spool.home

    def _complete(self, step: int, folder: Path, final: Path) -> None:
        """Runs in a thread of the main process, before a checkpoint is committed."""
        # First the metrics of these steps: a store that had the checkpoint without them would never
        # get them, as a run continues from the checkpoint.
        self._spool.push()
        write_json(folder / META, {"step": step, "loss": self._losses[step]})
        local = self._spool.local
        config, parents = read_json(local / "config.json"), read_sources(local, self._home)
        names = [name for name in list_files(folder) if name not in _COMMIT]
        # The lineage is the last of our files and has the hashes of all others; Orbax's commit
        # follows. So a committed checkpoint always has its lineage, and a kill at any moment before
        # leaves a folder that no restart takes for one.
        with ThreadPoolExecutor() as pool:
            hashes = pool.map(hash_file, (folder / name for name in names))
        write_lineage(
            folder,
            kind="checkpoint",
            parents=parents,
            config=config,
            seed=config["seed"],
            target=final,
            files=dict(zip(names, hashes, strict=True)),
        )

    def _by_loss(self, steps: Sequence[int]) -> list[int]:
        losses = {step: self._loss(step) for step in steps}
        known = [(loss, step) for step, loss in losses.items() if loss is not None]
        return [step for _, step in sorted(known)]

    def _loss(self, step: int) -> float | None:
        """The validation loss of a step; None also where its file isn't as it was saved."""
        if step not in self._losses:
            folder = step_folder(self._home, step)
            good = flaw(folder, lambda name: name == META) is None
            self._losses[step] = read_json(folder / META)["loss"] if good else None
        return self._losses[step]

    def _check_room(self, step: int, items: Any) -> None:
        """Before anything is written, so that a disk is not filled in vain."""
        if self._spool.is_remote:
            return
        # The whole arrays' size, also where several processes share the disk: at worst a save that
        # would just have fitted is refused, and never is one begun that can't end.
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(items))
        free = shutil.disk_usage(self._home / CHECKPOINTS).free
        if _anywhere(free < needed):
            sizes = f"a checkpoint takes {needed / 2**20:.1f} MiB, {free / 2**20:.1f} are free"
            reason = f"{os.strerror(errno.ENOSPC)} ({sizes})"
            raise OSError(errno.ENOSPC, reason, str(step_folder(self._home, step)))

    @contextmanager
    def _explained(self, step: int | None) -> Iterator[None]:
        """Names the checkpoint and the system's reason, which TensorStore has in its messages."""
        try:
            yield
        except Exception as error:
            # So that a full disk has room again; some of it may still be being written.
            for rest in unfinished_steps(self._home):
                remove_tree(rest)
            number = re.search(r"os_error_code='(\d+)'", str(error))
            if isinstance(error, OSError) or number is None:
                raise
            code, folder = int(number[1]), step_folder(self._home, step or 0)
            raise OSError(code, os.strerror(code), str(folder)) from error

    def _clear(self) -> None:
        """Removes what earlier starts were writing or deleting when they were stopped."""
        folder = self._home / CHECKPOINTS
        folder.mkdir(parents=True, exist_ok=True)
        for rest in unfinished_steps(self._home):
            _log.warning("%s: the run was stopped while it saved this step; removed", rest)
            remove_tree(rest)
        for rest in folder.glob(".*.deleted"):  # by version 0.1
            remove_tree(rest)


def _completed(folder: Path, complete: Callable[[int, Path, Path], None]) -> type:
    """Orbax's way to commit a checkpoint, with a call of `complete` just before it."""
    # No store renames a folder at once.
    kinds = ocp.path.atomicity
    base: Any = kinds.AtomicRenameTemporaryPath
    if is_remote(folder):
        base = kinds.CommitFileTemporaryPath

    class Completed(base):
        async def finalize(self) -> None:
            final = self.get_final()
            if final.parent == folder:  # not a part of a checkpoint
                await asyncio.to_thread(complete, int(final.name), self.get(), final)
            await super().finalize()

    return Completed


def _flaw(folder: Path) -> str | None:
    """`flaw`, of which each process reads its part and all return the same answer."""
    reason = flaw(folder, _mine)
    if _anywhere(reason is not None):
        return reason or f"{folder}: not as it was saved, by another process's check"
    return None


def _anywhere(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def _mine(name: str) -> bool:
    """Whether this process verifies a file of a checkpoint.

    Those are the files that it wrote, if there are as many processes as then; the first process has
    what belongs to none.
    """
    writer = re.search(r"process_(\d+)/", f"{name}/")
    return (int(writer[1]) if writer else 0) % jax.process_count() == jax.process_index()


def _is_news(record: logging.LogRecord) -> bool:
    """Orbax logs the traceback of what it then raises."""
    return not (record.exc_info and "orbax" in record.pathname)
