"""Where a run's numbers and texts go beside its files: TensorBoard, and wandb or trackio."""

import os
import uuid
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self

from tensorboardX import SummaryWriter

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json

TENSORBOARD = "tensorboard"
SINK_RUN = "sink.json"
PROJECT = "vcjax"


class Sink(Protocol):
    """Takes named values of a step; a context manager that finishes what it has written."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None: ...

    def texts(self, step: int, values: Mapping[str, str]) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...


def check_sink(name: str) -> None:
    """Raises a UserError if the sink's package isn't installed; '' needs none."""
    if name and find_spec(name) is None:
        raise UserError(
            f"config.sink: {name!r} isn't installed; install vcjax with the extra {name!r}"
        )


def open_sinks(name: str, workdir: Path, done: int) -> Iterator[Sink]:
    """Opens TensorBoard and the sink that `config.sink` names; both continue where a run resumes.

    Args:
      done: steps that an earlier start has done; what it wrote of later ones is superseded.
    """
    yield TensorBoard(workdir, done)
    if name:
        yield {"wandb": Wandb, "trackio": Trackio}[name](workdir)


def run_id(workdir: Path) -> str:
    """The run's name in a sink: the same at each start, another in each workdir, moved or not."""
    path = workdir / SINK_RUN
    if not path.is_file():
        write_json(path, {"id": uuid.uuid4().hex[:12]})
    return read_json(path)["id"]


class TensorBoard:
    """Event files in `workdir/tensorboard`."""

    def __init__(self, workdir: Path, done: int) -> None:
        # TensorBoard drops what it has of this step and later ones; step 0 is measured again.
        first = done + 1 if done else 0
        # The suffix, as two starts within a second would write into one file.
        folder, suffix = str(workdir / TENSORBOARD), f".{first}"
        self._writer = SummaryWriter(folder, purge_step=first, filename_suffix=suffix)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def texts(self, step: int, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            self._writer.add_text(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.close()


class Wandb:
    """A wandb run with its files in `workdir/.wandb`.

    Its own steps only grow, and a resumed run does some again; so the step is a value of each
    line, and the axis of all curves. `WANDB_MODE`, `WANDB_PROJECT` and the like are honoured; with
    `WANDB_MODE=offline` nothing is sent, and `wandb sync` sends it later.
    """

    def __init__(self, workdir: Path) -> None:
        self._wandb = wandb = import_module("wandb")
        (workdir / ".wandb").mkdir(exist_ok=True)  # where it is, wandb writes there
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=run_id(workdir),
                name=workdir.resolve().name,
                dir=str(workdir),
                resume="allow",
                config=read_json(workdir / "config.json"),
                settings=wandb.Settings(console="off"),
            )
        except wandb.errors.UsageError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(f"config.sink: wandb: {reason}, or set WANDB_MODE=offline") from None
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def texts(self, step: int, values: Mapping[str, str]) -> None:
        rows = [[step, name, text] for name, text in values.items()]
        table = self._wandb.Table(columns=["step", "name", "text"], data=rows)
        self._run.log({"samples": table, "step": step})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._run.__exit__(*error)


class Trackio:
    """A trackio run, kept on this machine unless `TRACKIO_SPACE_ID` names a space for it."""

    def __init__(self, workdir: Path) -> None:
        self._trackio = import_module("trackio")
        self._trackio.init(
            project=PROJECT,
            name=f"{workdir.resolve().name}-{run_id(workdir)}",
            config=read_json(workdir / "config.json"),
            resume="allow",
            embed=False,
        )

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log(dict(values), step=step)

    def texts(self, step: int, values: Mapping[str, str]) -> None:
        marked = {name: self._trackio.Markdown(text) for name, text in values.items()}
        self._trackio.log(marked, step=step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._trackio.finish()
