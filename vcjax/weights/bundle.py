"""A model as one thing: config, parameters, tokenizer, generation defaults and origin."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.core.lineage import Parent
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights import DTYPES
from vcjax.weights.checkpoint import write_params
from vcjax.weights.hf import write_weights
from vcjax.weights.mapping import ParamsSource, Source, check_tensors, import_params
from vcjax.weights.resolve import Located, resolve
from vcjax.weights.stored import GENERATION, StoredModel, eos_ids, open_stored, required


@dataclass(frozen=True)
class Bundle:
    """What one model reference stands for.

    Attributes:
      config: static shape.
      params: stacked parameter tree, numpy or JAX arrays.
      tokenizer: None where the source has none; only using it is an error.
      generation_config: raw generation defaults of the source.
      dtype: dtype of the parameters as held here.
      stored_dtype: dtype to export in by default: the source's own, float32 where it was quantised.
      origin: the source as a parent in a lineage.
    """

    config: LlamaConfig
    params: Params
    tokenizer: Tokenizer | None
    generation_config: dict[str, Any]
    dtype: str
    stored_dtype: str
    origin: Parent

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Every id that ends a generation."""
        return eos_ids(self.generation_config, self.config)

    @property
    def source(self) -> Source:
        """The parameters as tensors under their Hugging Face names."""
        return ParamsSource(self.params, self.config)

    def require_tokenizer(self) -> Tokenizer:
        """The tokenizer, or a UserError that says the source has none."""
        return required(self.tokenizer, self.origin)


def check_dtype(dtype: str) -> str:
    """Returns a known dtype's name, or raises a UserError."""
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not supported (supported: {', '.join(DTYPES)})")
    return dtype


def load_bundle(reference: str, dtype: str | None = None) -> Bundle:
    """Loads any model reference.

    Args:
      dtype: of the parameters in memory; None keeps the source's own.

    Raises:
      UserError: see `resolve`, `LlamaConfig.from_hf` and `import_params`.
    """
    return load_located(resolve(reference), dtype)


def load_located(located: Located, dtype: str | None = None) -> Bundle:
    """Loads what `resolve` found."""
    stored = _open(located)
    held = check_dtype(dtype or stored.stored_dtype)
    numbers = jax.numpy.dtype(held)
    params = import_params(stored.source, stored.config, numbers, str(located.path))
    return Bundle(
        stored.config,
        params,
        stored.tokenizer,
        stored.generation_config,
        held,
        stored.stored_dtype,
        stored.origin,
    )


def open_model(reference: str) -> StoredModel:
    """Opens any model reference; see `open_located`."""
    return open_located(resolve(reference))


def open_located(located: Located) -> StoredModel:
    """Opens what `resolve` found, its tensors left on disk and checked."""
    stored = _open(located)
    check_tensors(stored.source, stored.config, str(located.path))
    return stored


def _open(located: Located) -> StoredModel:
    if located.kind == "peft":
        from vcjax.weights.peft_source import open_adapted  # opens a base by `open_located`

        stored = open_adapted(located)
    elif located.kind == "workdir":
        from vcjax.weights.workdir import open_workdir  # as well

        stored = open_workdir(located)
    else:
        stored = open_stored(located)
    return replace(stored, tokenizer=located.chat.apply(stored.tokenizer))


def write_bundle(
    folder: Path, model: Bundle | StoredModel, *, form: str, dtype: str | None = None
) -> None:
    """Writes weights, config, tokenizer, chat template and generation defaults into `folder`.

    A tensor at a time: a model that is stored is never in memory.

    Args:
      form: `hf` (safetensors) or `checkpoint` (Orbax).
      dtype: of the written weights; None is the model's `stored_dtype`.
    """
    dtype = check_dtype(dtype or model.stored_dtype)
    writers = {"hf": write_weights, "checkpoint": write_params}
    if form not in writers:
        raise UserError(f"form {form!r} is not known (known: hf, checkpoint)")
    writers[form](folder, model.source, model.config, dtype)
    write_companions(folder, model)


def write_companions(folder: Path, model: Bundle | StoredModel) -> None:
    """Writes what stands beside weights: tokenizer, chat template and generation defaults."""
    if model.tokenizer is not None:
        model.tokenizer.save(folder)
    generation = {**model.generation_config, "eos_token_id": list(model.eos_ids) or None}
    write_json(folder / GENERATION, {k: v for k, v in generation.items() if v is not None})
