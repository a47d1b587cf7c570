"""The adapters of a training run in the format of `peft`, without the model that they adapt.

Source of the format: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vcjax.core.errors import UserError
from vcjax.core.files import check_writable, read_json, replaced_folder, write_json
from vcjax.core.lineage import Parent, write_lineage
from vcjax.core.stores import PARTIAL, is_there
from vcjax.model.lora import LEAVES, PROJECTIONS, LoraConfig
from vcjax.text.chat_settings import split_options
from vcjax.weights.bundle import check_dtype, write_companions
from vcjax.weights.card import charter_of, model_card
from vcjax.weights.mapping import Source, places
from vcjax.weights.resolve import ADAPTER_CONFIG, Located
from vcjax.weights.safetensors_file import write_file
from vcjax.weights.shipped import SHIPPED
from vcjax.weights.stored import GENERATION, StoredModel, read_tokenizer
from vcjax.weights.workdir import MODEL, Trained, read_sources, read_trained

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Stands before the name that an adapted module has in the base model."""

BASE = "base"
"""Role of the base model in an adapter's lineage."""


def save_adapters(located: Located, path: Path, dtype: str | None = None) -> str:
    """Writes the adapters of a training run, whole or not at all; returns their dtype.

    `peft.PeftModel.from_pretrained(base, path)` loads them, and so does vcjax, by a model
    reference. Tokenizer, model card and lineage stand beside them.

    Args:
      dtype: of the written adapters; None is float32, in which they were trained.

    Raises:
      UserError: no training run, one without adapters, or `path` is there already.
    """
    if located.kind != "workdir":
        raise UserError(
            f"{located.reference}: no training run; only a run with lora.rank above 0 has adapters "
            "to write for peft"
        )
    if is_there(path) and not (path / PARTIAL).is_file():
        raise UserError(f"{path}: exists; choose another folder")
    check_writable(path)
    trained, held = read_trained(located), check_dtype(dtype or "float32")
    if trained.lora is None:
        raise UserError(
            f"{located.reference}: was trained with lora.rank 0, so it has no adapters to write "
            "for peft; write the whole model (hf)"
        )
    base = next(one for one in read_sources(located.path) if one.role == "model")
    adapters = StoredModel(
        trained.config,
        AdapterSource(trained),
        located.chat.apply(read_tokenizer(located.path / MODEL)),
        read_json(located.path / MODEL / GENERATION),
        held,
        trained.origin,
    )
    with replaced_folder(path) as folder:
        _write_tensors(folder / ADAPTER_WEIGHTS, adapters)
        write_json(folder / ADAPTER_CONFIG, _config(trained.lora, base))
        write_companions(folder, adapters)
        card = _card(adapters, trained.lora, base)
        (folder / "README.md").write_text(card, encoding="utf-8")
        charter = charter_of(trained.origin)
        parents = [trained.origin, replace(base, role=BASE), *([charter] if charter else [])]
        config = {"form": "peft", "dtype": held}
        write_lineage(folder, kind="convert", parents=parents, config=config, target=path)
    return held


class AdapterSource(Source):
    """A run's adapters as tensors under the names that `peft` gives them, float32.

    It holds both matrices transposed: `lora_A` is [rank, inputs], `lora_B` [outputs, rank].
    """

    def __init__(self, trained: Trained) -> None:
        layers = trained.params["layers"]
        self._tensors: dict[str, np.ndarray] = {}
        for place in places(trained.config):
            if place.layer is None or place.path[-1] != "kernel" or place.path[1] not in layers:
                continue
            module = place.name.removesuffix(".weight")
            for leaf, matrix in zip(LEAVES, ("lora_A", "lora_B"), strict=True):
                tensor = layers[place.path[1]][leaf][place.layer].T
                self._tensors[f"{PREFIX}{module}.{matrix}.weight"] = tensor

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._tensors[name].shape

    def tensor(self, name: str) -> np.ndarray:
        """A tensor: a view."""
        return self._tensors[name]


def _write_tensors(path: Path, adapters: StoredModel) -> None:
    source = adapters.source
    shapes = {name: source.shape(name) for name in source.names()}
    with tqdm(disable=True) as bar:
        write_file(path, shapes, adapters.stored_dtype, source.tensor, bar)


def _config(lora: LoraConfig, base: Parent) -> dict[str, Any]:
    """`adapter_config.json`; what it leaves out has the default that `peft` gives it."""
    name, revision = _base_name(base)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": name,
        "revision": revision,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": [_module(name) for name in PROJECTIONS if lora.covers(name)],
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "inference_mode": True,
    }


def _module(projection: str) -> str:
    """Last part of the name that a projection has in all of the supported architectures."""
    return f"{projection}_proj"


def _base_name(base: Parent) -> tuple[str, str | None]:
    """How another program finds the base, and at which revision: by hub id, name or path."""
    reference, _ = split_options(base.reference)
    name, _, commit = reference.partition("@")
    if base.path is None or reference in SHIPPED:
        return reference, None
    if commit and Path(base.path).name == commit:  # a hub's snapshot
        return name, commit
    return base.path, None


def _card(adapters: StoredModel, lora: LoraConfig, base: Parent) -> str:
    name, revision = _base_name(base)
    notes = [
        f"These are adapters (LoRA, rank {lora.rank}, alpha {lora.alpha:g}) of the base model "
        f"`{base.reference}` (content hash `{base.hash[:16]}`); without it they are no model.",
    ]
    if revision is None:
        notes.append(
            "`peft` takes the base as a Hugging Face folder. Where it isn't one yet: `python -m "
            f"launch.convert --src={name} --dst=base --to=hf`."
        )
    if lora.base:
        notes.append(
            f"They were trained on top of the base's projections held in {lora.base}, and fit "
            "those best; on top of the base as it is, answers differ a little."
        )
    return model_card(
        adapters,
        title=f"Adapters of {adapters.origin.reference}",
        notes=tuple(notes),
        front=("library_name: peft", *([f"base_model: {name}"] if revision else [])),
    )
