"""An adapter in the format of `peft` as a model: merged into its base, a tensor at a time."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import NAME, Parent, read_lineage
from vcjax.core.stores import as_path
from vcjax.parallel import is_main_process
from vcjax.text.tokenizer import MissingTokenizer
from vcjax.weights.bundle import open_located
from vcjax.weights.mapping import Bounds, Source
from vcjax.weights.peft import ADAPTER_WEIGHTS, BASE, PREFIX
from vcjax.weights.resolve import ADAPTER_CONFIG, Located, resolve
from vcjax.weights.safetensors_file import Stored, read_header, read_tensor
from vcjax.weights.stored import GENERATION, StoredModel, origin_of, read_tokenizer

_MATRIX = re.compile(re.escape(PREFIX) + r"(?P<module>.+)\.lora_(?P<matrix>[AB])\.weight")
_UNSUPPORTED = ("use_dora", "use_qalora", "fan_in_fan_out", "alpha_pattern", "layer_replication")
_PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Initialisations that leave the base as it is; the others change it when they are loaded."""


def open_adapted(located: Located) -> StoredModel:
    """Opens an adapter folder and the base that it names.

    Raises:
      UserError: no low-rank adapter, a variant of it that isn't supported, tensors that don't fit
        the base, or a base that is gone or has changed.
    """
    folder = located.path
    raw = read_json(folder / ADAPTER_CONFIG)
    _check(folder / ADAPTER_CONFIG, raw)
    base = _open_base(folder, raw)
    try:
        tokenizer = read_tokenizer(folder)
    except MissingTokenizer:
        tokenizer = base.tokenizer
    generation = folder / GENERATION
    return StoredModel(
        base.config,
        MergedSource(base.source, folder, raw),
        tokenizer,
        read_json(generation) if generation.is_file() else base.generation_config,
        base.stored_dtype,
        origin_of(located),
    )


class MergedSource(Source):
    """The base's tensors with the adapters' products added, in float32 where there is one."""

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
        """Names of the base's tensors."""
        return self._base.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
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
        root = len(a) ** 0.5 if self._raw.get("use_rslora") else len(a)
        (top, bottom), (left, right) = bounds
        product = b[top:bottom] @ a[:, left:right]
        return part.astype(np.float32) + np.float32(self._raw["lora_alpha"] / root) * product


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


def _open_base(folder: Path, raw: dict[str, Any]) -> StoredModel:
    """The base, from where the lineage says if there is one, else as the config names it."""
    path, recorded = folder / ADAPTER_CONFIG, _recorded_base(folder)
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
    if is_main_process() and recorded is not None and base.origin.hash != recorded.hash:
        raise UserError(f"{reference}: changed since the adapters in {folder} were trained on it")
    return base


def _recorded_base(folder: Path) -> Parent | None:
    """The base in the adapter's lineage; None where it has none, as it wasn't written by vcjax."""
    if not (folder / NAME).is_file():
        return None
    for parent in read_lineage(folder)["parents"]:
        if parent["role"] == BASE:
            return Parent.from_record(parent, folder)
    return None
