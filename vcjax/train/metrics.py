"""`metrics.jsonl`: one line a step, on disk before the next step begins."""

import json
from pathlib import Path
from typing import Any

from vcjax.foundation.files import replaced

NAME = "metrics.jsonl"


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
