"""What a run writes while it trains: a line a step, a line a measurement, sampled answers.

Each file is JSON lines that name their step. A line is flushed before the run continues, so that a
kill loses none, and what an earlier start wrote of steps that are done again is dropped. Numbers
and texts go to the sinks too: TensorBoard, and wandb or trackio.
"""

import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, Self, TextIO

from tensorboardX import SummaryWriter

from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json, replaced, write_json

METRICS, VALIDATION, SAMPLES = "metrics.jsonl", "validation.jsonl", "samples.jsonl"
TENSORBOARD = "tensorboard"
SINK_RUN = "sink.json"
PROJECT = "vcjax"

_NO_CURVE = ("step", "count")


class Log:
    """Writes lines, and their numbers and texts to the sinks. A context manager.

    It takes plain Python numbers, so that it never waits for a device.
    """

    def __init__(self, workdir: Path, done: int, sink: str = "") -> None:
        """`done` is the number of steps that are kept of an earlier start; `sink` the config's."""
        self._workdir = workdir
        for name in (METRICS, VALIDATION, SAMPLES):
            truncate(workdir / name, done)
        self._streams: dict[str, TextIO] = {}
        # If one sink can't be opened, those before it are closed again.
        with ExitStack() as opened:
            self._sinks = [opened.enter_context(one) for one in open_sinks(sink, workdir, done)]
            self._opened = opened.pop_all()

    def write(self, line: dict[str, Any]) -> None:
        """A line of `metrics.jsonl`: `step` and numbers."""
        self._append(METRICS, line)
        self._numbers(line["step"], dict(curves(line)))

    def write_validation(self, line: dict[str, Any]) -> None:
        """A line of `validation.jsonl`: `step` and what `ValidationLoss.measure` returns."""
        self._append(VALIDATION, line)
        self._numbers(line["step"], dict(curves(line, "validation")))

    def write_samples(self, step: int, prompts: Sequence[str], answers: Sequence[str]) -> None:
        """Lines of `samples.jsonl`: `step, prompt, answer`."""
        pairs = list(zip(prompts, answers, strict=True))
        for prompt, answer in pairs:
            self._append(SAMPLES, {"step": step, "prompt": prompt, "answer": answer})
        texts = {
            f"samples/{number}": f"**{prompt}**\n\n{answer}"
            for number, (prompt, answer) in enumerate(pairs, start=1)
        }
        for sink in self._sinks:
            sink.texts(step, texts)

    def _append(self, name: str, line: dict[str, Any]) -> None:
        if name not in self._streams:
            stream = (self._workdir / name).open("a", encoding="utf-8")
            self._streams[name] = self._opened.enter_context(stream)
        self._streams[name].write(to_line(line))
        # To the operating system: a kill of this process loses nothing then.
        self._streams[name].flush()

    def _numbers(self, step: int, values: dict[str, float]) -> None:
        for sink in self._sinks:
            sink.numbers(step, values)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)


def curves(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of each finite number in a line; nested names are joined by slashes."""
    for key, value in line.items():
        name = f"{prefix}/{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from curves(value, name)
        elif key not in _NO_CURVE and value is not None and math.isfinite(value):
            yield name, value


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` in order."""
    return read_lines(workdir / METRICS)


def read_last(workdir: Path, done: int, count: int) -> list[dict[str, Any]]:
    """The last `count` lines of `metrics.jsonl` up to the step `done`, or all there are."""
    lines = [line for line in read_metrics(workdir) if line["step"] <= done]
    return lines[len(lines) - min(count, len(lines)) :]


def read_lines(path: Path, done: int | None = None) -> list[dict[str, Any]]:
    """The lines in order; a last line that a kill left half written doesn't count.

    Args:
      done: only the lines that a run keeps which continues after this number of steps. Before the
        first checkpoint it keeps none: what was measured at step 0 is measured again.
    """
    if not path.is_file() or done == 0:
        return []
    *whole, _ = path.read_bytes().split(b"\n")  # every whole line ends with a newline
    lines = [json.loads(line) for line in whole]
    return [line for line in lines if done is None or line["step"] <= done]


def truncate(path: Path, done: int) -> None:
    """Drops the lines that `read_lines` leaves out; makes no file."""
    if not path.is_file():
        return
    kept = read_lines(path, done)
    with replaced(path) as temporary:
        temporary.write_text("".join(map(to_line, kept)), encoding="utf-8")


def to_line(values: dict[str, Any]) -> str:
    """JSON has no number for what isn't finite: it becomes null."""
    return json.dumps(finite(values), ensure_ascii=False, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """`value` with None for each number that isn't finite, nested ones too."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summarise(stage: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The contents of `summary.json`: `seconds` are those of the steps, compilation included.

    First and last loss are those of the first and last step that had a finite one; `skipped` is
    the number of updates left out because they weren't.

    Raises:
      GateNotMet: no step had one, so that nothing was trained.
    """
    losses = [line["loss"] for line in lines if line["loss"] is not None]
    if not losses:
        raise GateNotMet(f"none of the {len(lines)} steps had a finite loss; nothing was trained")
    return {
        "stage": stage,
        "steps": lines[-1]["step"],
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "tokens": sum(line["tokens"] for line in lines),
        "loss_tokens": sum(line["loss_tokens"] for line in lines),
        "seconds": sum(line["seconds"] for line in lines),
        "skipped": sum(line["skipped"] for line in lines),
    }


# -------------------------------------------------------------------------------------------------
# Sinks.
# -------------------------------------------------------------------------------------------------


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
