"""What a run writes while it trains: a line a step, a line a measurement, sampled answers.

Each file is JSON lines that name their step. A line is flushed before the run continues, so that a
kill loses none, and what an earlier start wrote of steps that are done again is dropped. Numbers
and texts go to the sinks (`vcjax.train.sinks`) too.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from vcjax.core.errors import GateNotMet
from vcjax.core.files import replaced
from vcjax.train.sinks import open_sinks

METRICS, VALIDATION, SAMPLES = "metrics.jsonl", "validation.jsonl", "samples.jsonl"

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
