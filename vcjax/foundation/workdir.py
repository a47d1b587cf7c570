"""A folder that belongs to one run of one config, and to one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json, write_json
from vcjax.foundation.locks import hold


def check_config(workdir: Path, config: dict[str, Any], extendable: tuple[str, ...] = ()) -> None:
    """Raises a UserError that shows the difference if `workdir` was used with another config.

    The fields in `extendable` may grow: a finished run is extended by raising them.
    """
    path = workdir / "config.json"
    if not path.is_file():
        return
    old, new = _flat(read_json(path)), _flat(config)
    changes = []
    for field in sorted(old.keys() | new.keys()):
        before, after = old.get(field), new.get(field)
        grown = field in extendable and before is not None and after is not None and after >= before
        if before != after and not grown:
            changes.append(f"{field}: {before!r} -> {after!r}")
    if changes:
        raise UserError(
            f"{workdir}: holds a run of another config ({'; '.join(changes)}); "
            "choose another workdir"
        )


def has_config(workdir: Path, config: dict[str, Any]) -> bool:
    """Whether `workdir` was last used with this very config, nothing raised."""
    path = workdir / "config.json"
    return path.is_file() and _flat(read_json(path)) == _flat(config)


@contextmanager
def opened(
    workdir: str | Path, config: dict[str, Any], extendable: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Makes or reopens `workdir`, records its config, and holds it against a second process.

    Call it after every input has been checked: it is the first thing that a run writes.

    Raises:
      UserError: the workdir has another config, or another process is running in it.
    """
    workdir = Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"{workdir}: is a file; a workdir is a folder")
    check_config(workdir, config, extendable)
    workdir.mkdir(parents=True, exist_ok=True)
    with hold(workdir / ".lock", f"{workdir}: another run is using it"):
        write_json(workdir / "config.json", config)
        yield workdir


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
