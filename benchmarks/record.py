"""`bench.json`: one section for each bench, each with the machine and the command it came from."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_facts
from vcjax.core.errors import UserError
from vcjax.core.files import check_writable, read_json, write_json

NAME = "bench.json"


def circumstances() -> dict[str, Any]:
    """`date, command, machine` of a measurement that begins now."""
    arguments = [argument.removeprefix("--what=") for argument in sys.argv[1:]]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "launch.bench", *arguments]),
        "machine": machine_facts(),
    }


def read_record(workdir: Path) -> dict[str, Any]:
    """What earlier benches left; empty where there is none.

    Raises:
      UserError: the file isn't one of ours, or nothing can be written there.
    """
    check_writable(workdir)
    if not (workdir / NAME).is_file():
        return {}
    record = read_json(workdir / NAME)
    if not isinstance(record, dict):
        raise UserError(f"{workdir / NAME}: not a record of benches; choose another --workdir")
    return record


def write_section(workdir: Path, section: str, content: dict[str, Any]) -> None:
    """Puts a section in the place of the earlier one; the others stay."""
    write_json(workdir / NAME, {**read_record(workdir), section: content})
