"""`metrics.jsonl`: one line a step, on disk before the next step begins; TensorBoard beside it."""

import json
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from vcjax.foundation.files import replaced

NAME = "metrics.jsonl"
TENSORBOARD = "tensorboard"
_CURVES = ("loss", "grad_norm", "learning_rate", "tokens_per_second")


class Log:
    """Writes the metrics of the steps after `done`; what an earlier start wrote of them is
    dropped, since they are done again. A context manager."""

    def __init__(self, workdir: Path, done: int) -> None:
        truncate_metrics(workdir, done)
        self._stream = (workdir / NAME).open("a", encoding="utf-8")
        self._board = SummaryWriter(
            str(workdir / TENSORBOARD), purge_step=done + 1 if done else None
        )

    def write(self, line: dict[str, Any]) -> None:
        self._stream.write(to_line(line))
        self._stream.flush()
        for name in _CURVES:
            self._board.add_scalar(name, line[name], line["step"])

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._board.close()


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The lines in order; a last line that a kill left half written doesn't count."""
    path = workdir / NAME
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def truncate_metrics(workdir: Path, step: int) -> None:
    """Drops what was written after `step`: those steps are done again."""
    kept = [line for line in read_metrics(workdir) if line["step"] <= step]
    with replaced(workdir / NAME) as temporary:
        temporary.write_text("".join(map(to_line, kept)), encoding="utf-8")


def to_line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"


def summarise(stage: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What `summary.json` says: `seconds` are those of the steps, compilation included."""
    return {
        "stage": stage,
        "steps": lines[-1]["step"],
        "first_loss": lines[0]["loss"],
        "last_loss": lines[-1]["loss"],
        "tokens": sum(line["tokens"] for line in lines),
        "loss_tokens": sum(line["loss_tokens"] for line in lines),
        "seconds": sum(line["seconds"] for line in lines),
    }
