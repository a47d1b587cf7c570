"""Adapters in the format of `peft`: merged into their base as they are read, and named for writing.

Source of the format: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import NAME, Parent, read_lineage
from vcjax.model.lora import LEAVES, PROJECTIONS, LoraConfig
from vcjax.text.chat_settings import split_options
from vcjax.weights.mapping import Bounds, Source, tensor_locations
from vcjax.weights.resolve import ADAPTER_CONFIG, SHIPPED
from vcjax.weights.safetensors_file import Stored, read_header, read_tensor
from vcjax.weights.workdir import Trained

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Precedes the name that an adapted module has in the base model."""

BASE = "base"
"""Role of the base model in an adapter's lineage."""

_MATRIX = re.compile(re.escape(PREFIX) + r"(?P<module>.+)\.lora_(?P<matrix>[AB])\.weight")
_UNSUPPORTED = ("use_dora", "use_qalora", "fan_in_fan_out", "alpha_pattern", "layer_replication")
_PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Initialisations that leave the base as it is; the others change it when they are loaded."""


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Reads `adapter_config.json`.

    Raises:
      UserError: no low-rank adapter, or a variant of it that isn't supported.
    """
    raw = read_json(folder / ADAPTER_CONFIG)
    _check(folder / ADAPTER_CONFIG, raw)
    return raw


class MergedSource(Source):
    """The base's tensors with the adapters added, in float32 where there is one."""

    def __init__(self, base: Source, folder: Path, raw: dict[str, Any]) -> None:
        self._base, self._raw = base, raw
        path = folder / ADAPTER_WEIGHTS
        if not path.is_file():
            raise UserError(f"{folder}: no {ADAPTER_WEIGHTS}: pickled adapters are not loaded")
        self._pairs: dict[str, dict[str, Stored]] = defaultdict(dict)
        known = {name for name in base.names() if len(base.shape(name)) == 2}
        for name, stored in read_header(path).items():
            matched = _MATRIX.fullmatch(name)
            target = f"{matched['module']}.weight" if matched else ""
            if matched is None or target not in known:
                raise UserError(f"{path}: tensor {name!r} adapts no matrix of its base")
            self._pairs[target][matched["matrix"]] = stored
        for target, pair in self._pairs.items():
            self._check_pair(path, target, pair)

    def _check_pair(self, path: Path, target: str, pair: dict[str, Stored]) -> None:
        shapes = {matrix: stored.shape for matrix, stored in pair.items()}
        outputs, inputs = self._base.shape(target)
        rank = shapes.get("A", (0,))[0]
        if shapes != {"A": (rank, inputs), "B": (outputs, rank)}:
            raise UserError(
                f"{path}: the adapter of {target!r} has shapes {shapes}, its base {outputs} "
                f"outputs and {inputs} inputs"
            )

    def names(self) -> list[str]:
        return self._base.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._base.shape(name)

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor, adapted."""
        return self.part(name, tuple((0, size) for size in self.shape(name)))

    def part(self, name: str, bounds: Bounds) -> np.ndarray:
        """Reads what is between `bounds` of one tensor, adapted."""
        part = self._base.part(name, bounds)
        if name not in self._pairs:
            return part
        a, b = (read_tensor(self._pairs[name][one]).astype(np.float32) for one in "AB")
        # The rank is that of the matrices, so a `rank_pattern` needs no reading. rsLoRA divides by
        # its root (Kalajdzievski, arXiv 2312.03732).
        root = len(a) ** 0.5 if self._raw.get("use_rslora") else len(a)
        (top, bottom), (left, right) = bounds
        # Rows of B and columns of A are all that a box of the product needs.
        delta = b[top:bottom] @ a[:, left:right]
        return part.astype(np.float32) + np.float32(self._raw["lora_alpha"] / root) * delta


class AdapterSource(Source):
    """A run's adapters as tensors under the names that `peft` gives them, float32.

    In `peft` both matrices are transposed: `lora_A` is [rank, inputs], `lora_B` [outputs, rank].
    """

    def __init__(self, trained: Trained) -> None:
        layers = trained.params["layers"]
        self._tensors: dict[str, np.ndarray] = {}
        for location in tensor_locations(trained.config):
            if location.projection not in layers:
                continue
            module = location.name.removesuffix(".weight")
            for leaf, matrix in zip(LEAVES, ("lora_A", "lora_B"), strict=True):
                tensor = layers[location.projection][leaf][location.layer].T
                self._tensors[f"{PREFIX}{module}.{matrix}.weight"] = tensor

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def tensor(self, name: str) -> np.ndarray:
        """A tensor: a view."""
        return self._tensors[name]


def adapter_config(lora: LoraConfig, base: Parent) -> dict[str, Any]:
    """`adapter_config.json`; what it leaves out has the default that `peft` gives it."""
    name, revision = base_name(base)
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


def base_name(base: Parent) -> tuple[str, str | None]:
    """How another program finds the base, and at which revision: by hub id, name or path."""
    reference, _ = split_options(base.reference)
    name, _, commit = reference.partition("@")
    if base.path is None or reference in SHIPPED:
        return reference, None
    if commit and Path(base.path).name == commit:  # a hub's snapshot
        return name, commit
    return base.path, None


def recorded_base(folder: Path) -> Parent | None:
    """The base in the adapter's lineage; None where it has none, as it wasn't written by vcjax."""
    if not (folder / NAME).is_file():
        return None
    for parent in read_lineage(folder)["parents"]:
        if parent["role"] == BASE:
            return Parent.from_record(parent, folder)
    return None


def _check(path: Path, raw: dict[str, Any]) -> None:
    if raw.get("peft_type") != "LORA":
        raise UserError(f"{path}: peft_type {raw.get('peft_type')!r} is not supported, LORA is")
    for field in _UNSUPPORTED:
        if raw.get(field):
            raise UserError(f"{path}: {field} {raw[field]!r} is not supported")
    if raw.get("init_lora_weights") not in _PLAIN_STARTS:
        start = raw["init_lora_weights"]
        raise UserError(
            f"{path}: init_lora_weights {start!r} is not supported: it changes the base"
        )
    if not isinstance(raw.get("lora_alpha"), int | float):
        raise UserError(f"{path}: lora_alpha {raw.get('lora_alpha')!r} is no number")
