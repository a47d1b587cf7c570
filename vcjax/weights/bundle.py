"""A model as one thing: config, parameters, tokenizer, generation defaults and origin."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json, write_json
from vcjax.foundation.lineage import Parent
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.text.tokenizer import MissingTokenizer, Tokenizer, load_tokenizer
from vcjax.weights.checkpoint import read_params, write_params
from vcjax.weights.gguf import GGUFSource
from vcjax.weights.hf import HFSource, write_weights
from vcjax.weights.mapping import import_params
from vcjax.weights.resolve import CHECKPOINT_MARK, Located, resolve

DTYPES = ("float32", "bfloat16", "float16")
GENERATION = "generation_config.json"


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
        """Every id that ends a generation, from `generation_config.json`, else the config's."""
        found = self.generation_config.get("eos_token_id")
        ids = self.config.eos_ids if found is None else found
        return (ids,) if isinstance(ids, int) else tuple(ids)

    def require_tokenizer(self) -> Tokenizer:
        """The tokenizer, or a UserError that says the source has none."""
        if self.tokenizer is None:
            raise MissingTokenizer(f"{self.origin.reference}: this model has no tokenizer")
        return self.tokenizer


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
    if located.kind == "workdir":
        # A run's adapters need their base, which is loaded here: the two modules need each other.
        from vcjax.weights.workdir import load_workdir

        return load_workdir(located.path, dtype, located.reference)
    origin = Parent.of("model", located.path, located.reference)
    if located.kind == "gguf":
        source: GGUFSource | HFSource = GGUFSource(located.path)
        tokenizer = Tokenizer(source.tokenizer())
        stored, raw = source.config["torch_dtype"], source.config
        generation = source.generation_config
    elif located.kind == "hf":
        source = HFSource(located.path)
        tokenizer = _tokenizer(located.path)
        stored, raw, generation = source.dtype, source.config, source.generation_config
    else:
        return _load_checkpoint(located, dtype, origin)
    held = check_dtype(dtype or stored)
    config = _config(raw, located)
    params = import_params(source, config, jax.numpy.dtype(held), str(located.path))
    return Bundle(config, params, tokenizer, generation, held, stored, origin)


def _load_checkpoint(located: Located, dtype: str | None, origin: Parent) -> Bundle:
    folder = located.path
    stored = read_json(folder / CHECKPOINT_MARK)["dtype"]
    config = _config(read_json(folder / "config.json"), located)
    held = check_dtype(dtype or stored)
    params = read_params(folder, config, held)
    generation = read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    return Bundle(config, params, _tokenizer(folder), generation, held, stored, origin)


def _config(raw: dict[str, Any], located: Located) -> LlamaConfig:
    try:
        return LlamaConfig.from_hf(raw)
    except UserError as error:
        where = f"{located.path}/" if located.kind != "gguf" else f"{located.path}: "
        raise UserError(f"{where}{error}") from None


def _tokenizer(folder: Path) -> Tokenizer | None:
    try:
        return load_tokenizer(folder)
    except MissingTokenizer:
        return None


def write_bundle(folder: Path, bundle: Bundle, *, form: str, dtype: str | None = None) -> None:
    """Writes weights, config, tokenizer, chat template and generation defaults into `folder`.

    Args:
      form: `hf` (safetensors) or `checkpoint` (Orbax).
      dtype: of the written weights; None is the bundle's `stored_dtype`.
    """
    dtype = check_dtype(dtype or bundle.stored_dtype)
    writers = {"hf": write_weights, "checkpoint": write_params}
    if form not in writers:
        raise UserError(f"form {form!r} is not known (known: hf, checkpoint)")
    writers[form](folder, bundle.params, bundle.config, dtype)
    write_companions(folder, bundle)


def write_companions(folder: Path, bundle: Bundle) -> None:
    """Writes what stands beside weights: tokenizer, chat template and generation defaults."""
    if bundle.tokenizer is not None:
        bundle.tokenizer.save(folder)
    generation = {**bundle.generation_config, "eos_token_id": list(bundle.eos_ids) or None}
    write_json(folder / GENERATION, {k: v for k, v in generation.items() if v is not None})
