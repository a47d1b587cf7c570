"""One function from a model reference to files on this machine."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vcjax.foundation.errors import UserError, suggest
from vcjax.model.named import NAMED
from vcjax.weights.shipped import SHIPPED, fetch_shipped

CHECKPOINT_MARK = "vcjax_checkpoint.json"
ADAPTER_CONFIG = "adapter_config.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_HUB_FILES = ("*.json", "*.safetensors", "tokenizer.model", "*.jinja")


@dataclass(frozen=True)
class Located:
    """Where a model reference led.

    Attributes:
      kind: `hf`, `gguf`, `checkpoint`, `workdir` (a training run) or `peft` (an adapter).
      path: the folder, or the GGUF file.
      reference: what the user wrote; a hub id with the commit it resolved to.
      step: of a workdir, the checkpoint that was asked for; None is the last good one.
    """

    kind: str
    path: Path
    reference: str
    step: int | None = None


def resolve(reference: str, wanted: Sequence[str] = _HUB_FILES) -> Located:
    """Finds a model by folder, GGUF file, training workdir, adapter, shipped name or hub id.

    `wanted` are patterns of the files that are fetched from the hub.

    `WORKDIR/checkpoints/STEP` is the model of a training run as of that step.

    Raises:
      UserError: nothing is there, or what is there is no model.
    """
    if reference in SHIPPED:
        return Located("gguf", fetch_shipped(reference), reference)
    path = Path(reference)
    if path.is_dir():
        home = path.resolve().parent
        if path.resolve().name.isdecimal() and home.name == "checkpoints":
            return Located("workdir", home.parent, reference, int(path.resolve().name))
        return Located(_folder_kind(path), path, reference)
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(f"{reference}: not a model (a folder or a .gguf file is)")
        return Located("gguf", path, reference)
    if _HUB_ID.fullmatch(reference):
        return _from_hub(reference, wanted)
    if reference in NAMED:
        raise UserError(
            f"{reference}: a shape without weights, for launch.plan; name a model by its folder, "
            "file or hub id"
        )
    raise UserError(
        f"{reference}: no such folder or file, and no shipped model{suggest(reference, SHIPPED)}"
    )


def _folder_kind(path: Path) -> str:
    if (path / CHECKPOINT_MARK).is_file():
        return "checkpoint"
    if (path / "checkpoints").is_dir():
        return "workdir"
    if (path / "config.json").is_file():
        return "hf"
    if (path / ADAPTER_CONFIG).is_file():
        return "peft"
    raise UserError(f"{path}: no config.json: not a model folder")


def _from_hub(reference: str, wanted: Sequence[str]) -> Located:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import httpx  # under the name that its releases share

    name, _, revision = reference.partition("@")
    try:
        commit = HfApi().model_info(name, revision=revision or None).sha
        path = snapshot_download(name, revision=commit, allow_patterns=list(wanted))
    except (httpx.HTTPError, OSError) as error:  # the hub's own errors are among these
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{reference}: no such folder, and not to be had from the hub ({reason})"
        ) from None
    adapter = (Path(path) / ADAPTER_CONFIG).is_file() and not (Path(path) / "config.json").is_file()
    return Located("peft" if adapter else "hf", Path(path), f"{name}@{commit}")
