"""A run's checkpoints: what is trained and the optimiser's state, by Orbax."""

from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from vcjax.model.build import Params
from vcjax.train.state import Layout
from vcjax.weights.workdir import CHECKPOINTS, PARAMS

OPTIMIZER = "optimizer"


class Checkpoints:
    """Numbered by the steps that are done. A checkpoint is there whole or not at all."""

    def __init__(self, workdir: Path, keep: int) -> None:
        """Opens `workdir/checkpoints`, making it if need be; `keep` is how many stay."""
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            enable_async_checkpointing=False,  # what is reported as saved is saved
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(
            (workdir / CHECKPOINTS).resolve(), options=options, item_names=(PARAMS, OPTIMIZER)
        )

    @property
    def latest(self) -> int | None:
        """Steps done at the last checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, trainable: Params, state: Any) -> None:
        """Writes a checkpoint and returns when it is on disk."""
        items = {PARAMS: trainable, OPTIMIZER: state}
        saves = {name: ocp.args.StandardSave(item) for name, item in items.items()}
        self._manager.save(step, args=ocp.args.Composite(**saves))

    def restore(self, step: int, layout: Layout) -> tuple[Params, Any]:
        """Reads (trainable, optimizer state) onto the layout, whatever mesh wrote them."""
        items = {PARAMS: layout.trainable, OPTIMIZER: layout.optimizer}
        restores = {name: ocp.args.StandardRestore(item) for name, item in items.items()}
        found = self._manager.restore(step, args=ocp.args.Composite(**restores))
        return found[PARAMS], found[OPTIMIZER]

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()
