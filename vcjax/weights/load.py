"""Any model reference, opened or loaded.

    reference -> resolve -> hf | gguf | checkpoint ------------------> StoredModel -> LoadedModel
                         -> workdir | peft -> its base, opened -> adapters merged as they are read

A workdir's adapters are merged into the base that the run had: a base that was quantised
(`lora.base`) is quantised again, in the same way, and the adapters are merged into the dequantised
weights. The adapters were trained on top of those; the original weights would not fit them as well.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import Parent
from vcjax.core.stores import as_path
from vcjax.model.config import LlamaConfig
from vcjax.parallel import is_main_process
from vcjax.text.chat_settings import split_options
from vcjax.text.tokenizer import MissingTokenizer, Tokenizer
from vcjax.weights.checkpoint import CheckpointSource
from vcjax.weights.gguf.source import GGUFSource
from vcjax.weights.hf import HFSource
from vcjax.weights.mapping import check_tensors, import_params
from vcjax.weights.model import (
    GENERATION,
    LoadedModel,
    StoredModel,
    check_dtype,
    origin_of,
    read_tokenizer,
)
from vcjax.weights.peft import MergedSource, read_adapter_config, recorded_base
from vcjax.weights.resolve import ADAPTER_CONFIG, CHECKPOINT_MARK, Located, resolve
from vcjax.weights.workdir import MODEL, AdaptedSource, TrainedSource, read_sources, read_trained


def load_model(reference: str, dtype: str | None = None) -> LoadedModel:
    """Loads any model reference.

    Args:
      dtype: of the parameters in memory; None keeps the source's own.

    Raises:
      UserError: see `resolve`, `LlamaConfig.from_hf` and `import_params`.
    """
    return load_located(resolve(reference), dtype)


def load_located(
    located: Located,
    dtype: str | None = None,
    on_open: Callable[[StoredModel], None] = lambda stored: None,
) -> LoadedModel:
    """Loads what `resolve` found.

    Args:
      on_open: called with the opened model before its weights are in memory, such as to make room.
    """
    # `import_params` checks the tensors as it reads them, so `open_located` needn't do so first.
    stored = _open(located)
    on_open(stored)
    dtype = check_dtype(dtype or stored.stored_dtype)
    params = import_params(stored.source, stored.config, jax.numpy.dtype(dtype), str(located.path))
    return LoadedModel(
        config=stored.config,
        params=params,
        tokenizer=stored.tokenizer,
        generation_config=stored.generation_config,
        dtype=dtype,
        stored_dtype=stored.stored_dtype,
        origin=stored.origin,
    )


def open_model(reference: str) -> StoredModel:
    """Opens any model reference; see `open_located`."""
    return open_located(resolve(reference))


def open_located(located: Located) -> StoredModel:
    """Opens what `resolve` found; its tensors stay on disk, and are checked.

    Raises:
      UserError: see `LlamaConfig.from_hf`, `check_tensors`, and the source of each kind.
    """
    stored = _open(located)
    check_tensors(stored.source, stored.config, str(located.path))
    return stored


def open_base(folder: Path) -> StoredModel:
    """Opens the model that the run in `folder` began with.

    Raises:
      UserError: it is gone, or isn't the one that the run began with.
    """
    source = next(parent for parent in read_sources(folder) if parent.role == "model")
    # By its path where that is still there: a reference such as a hub's branch may mean other
    # weights now.
    existing = source.path if source.path and as_path(source.path).exists() else None
    base = open_located(resolve(existing or split_options(source.reference)[0]))
    if _has_changed(base, source):
        raise UserError(
            f"{base.origin.reference}: changed since {folder} was trained on top of it; "
            "its adapters fit the earlier model only"
        )
    return base


def _open(located: Located) -> StoredModel:
    openers = {
        "hf": _open_hf,
        "gguf": _open_gguf,
        "checkpoint": _open_checkpoint,
        "workdir": _open_workdir,
        "peft": _open_peft,
    }
    stored = openers[located.kind](located)
    return replace(stored, tokenizer=located.chat.apply(stored.tokenizer))


def _open_hf(located: Located) -> StoredModel:
    source = HFSource(located.path)
    return StoredModel(
        config=_config(source.config, located),
        source=source,
        tokenizer=_tokenizer(located.path),
        generation_config=source.generation_config,
        stored_dtype=source.dtype,
        origin=origin_of(located),
    )


def _open_gguf(located: Located) -> StoredModel:
    source = GGUFSource(located.path)
    return StoredModel(
        config=_config(source.config, located),
        source=source,
        tokenizer=Tokenizer(source.tokenizer()),
        generation_config=source.generation_config,
        stored_dtype=source.config["torch_dtype"],
        origin=origin_of(located),
    )


def _open_checkpoint(located: Located) -> StoredModel:
    path = located.path
    config = _config(read_json(path / "config.json"), located)
    return StoredModel(
        config=config,
        source=CheckpointSource(path, config),
        tokenizer=_tokenizer(path),
        generation_config=read_json(path / GENERATION) if (path / GENERATION).is_file() else {},
        stored_dtype=read_json(path / CHECKPOINT_MARK)["dtype"],
        origin=origin_of(located),
    )


def _open_workdir(located: Located) -> StoredModel:
    """The model of a training run, its adapters merged as it is read; see `read_trained`."""
    folder, trained = located.path, read_trained(located)
    source = TrainedSource(trained)
    if trained.lora is not None:
        source = AdaptedSource(open_base(folder).source, trained)
    return StoredModel(
        config=trained.config,
        source=source,
        tokenizer=read_tokenizer(folder / MODEL),
        generation_config=read_json(folder / MODEL / GENERATION),
        stored_dtype=trained.stored_dtype,
        origin=trained.origin,
    )


def _open_peft(located: Located) -> StoredModel:
    """An adapter in the format of `peft`, merged into its base as it is read."""
    folder = located.path
    raw = read_adapter_config(folder)
    base = _open_adapted(folder, raw)
    return StoredModel(
        config=base.config,
        source=MergedSource(base.source, folder, raw),
        tokenizer=_tokenizer(folder) or base.tokenizer,
        generation_config=(
            read_json(folder / GENERATION)
            if (folder / GENERATION).is_file()
            else base.generation_config
        ),
        stored_dtype=base.stored_dtype,
        origin=origin_of(located),
    )


def _open_adapted(folder: Path, raw: dict[str, Any]) -> StoredModel:
    """The base of an adapter, from the path in its lineage, else as its config names it."""
    path, recorded = folder / ADAPTER_CONFIG, recorded_base(folder)
    name, revision = raw.get("base_model_name_or_path"), raw.get("revision")
    if not name:
        raise UserError(f"{path}: base_model_name_or_path is empty; name the adapter's base in it")
    reference = f"{name}@{revision}" if revision else name
    if recorded is not None and recorded.path is not None and as_path(recorded.path).exists():
        reference = recorded.path
    try:
        base = open_located(resolve(reference))
    except UserError as error:
        raise UserError(f"{path}: base_model_name_or_path: {error}") from None
    if recorded is not None and _has_changed(base, recorded):
        raise UserError(f"{reference}: changed since the adapters in {folder} were trained on it")
    return base


def _has_changed(base: StoredModel, recorded: Parent) -> bool:
    # Only the main process hashes models, so the others can't compare.
    return is_main_process() and base.origin.hash != recorded.hash


def _config(raw: dict[str, Any], located: Located) -> LlamaConfig:
    try:
        return LlamaConfig.from_hf(raw)
    except UserError as error:
        where = f"{located.path}/" if located.kind != "gguf" else f"{located.path}: "
        raise UserError(f"{where}{error}") from None


def _tokenizer(folder: Path) -> Tokenizer | None:
    try:
        return read_tokenizer(folder)
    except MissingTokenizer:
        return None
