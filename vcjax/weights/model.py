"""A model as one object: config, tensors, tokenizer, generation defaults and origin.

`StoredModel` leaves the tensors on disk, `LoadedModel` has them in memory.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.core.lineage import Parent
from vcjax.core.stores import absolute, local_files
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.parallel import is_main_process
from vcjax.text.tokenizer import MissingTokenizer, Tokenizer, load_tokenizer
from vcjax.weights import DTYPES
from vcjax.weights.hub import COMPANIONS
from vcjax.weights.mapping import ParamsSource, Source
from vcjax.weights.resolve import Located

GENERATION = "generation_config.json"
_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What is known of a model wherever its tensors are.

    Attributes:
      config: static shape.
      tokenizer: None where the source has none; only using it is an error.
      generation_config: raw generation defaults of the source.
      stored_dtype: dtype to export in by default: the source's own, float32 where it was quantised.
      origin: the source as a parent in a lineage.
    """

    config: LlamaConfig
    tokenizer: Tokenizer | None
    generation_config: dict[str, Any]
    stored_dtype: str
    origin: Parent

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Every id that ends a generation, from `generation_config.json`, else `config.json`."""
        # Chat models end a turn with a token of its own, which `config.json` often lacks beside the
        # one that ends a document; a model that didn't stop there would write the user's next turn,
        # too.
        found = self.generation_config.get("eos_token_id")
        ids = self.config.eos_ids if found is None else found
        return (ids,) if isinstance(ids, int) else tuple(ids)

    @property
    def sampling_defaults(self) -> dict[str, Any]:
        """How the model's makers have it sampled, by `generation_config.json`, as it is there."""
        found = {name: self.generation_config.get(name) for name in _SAMPLING}
        return {name: value for name, value in found.items() if value is not None}

    def require_tokenizer(self) -> Tokenizer:
        """Returns the tokenizer.

        Raises:
          MissingTokenizer: the source has none.
        """
        if self.tokenizer is None:
            raise MissingTokenizer(f"{self.origin.reference}: this model has no tokenizer")
        return self.tokenizer


@dataclass(frozen=True, kw_only=True)
class StoredModel(_Model):
    """A model on disk.

    Attributes:
      source: its tensors, each read when it is asked for.
    """

    source: Source


@dataclass(frozen=True, kw_only=True)
class LoadedModel(_Model):
    """A model in memory.

    Attributes:
      params: stacked parameter tree, NumPy or JAX arrays.
      dtype: of the parameters in memory.
    """

    params: Params
    dtype: str

    @property
    def source(self) -> Source:
        """The parameters as tensors under their Hugging Face names."""
        return ParamsSource(self.params, self.config)


AnyModel = StoredModel | LoadedModel


def check_dtype(dtype: str) -> str:
    """Returns a known dtype's name, or raises a UserError."""
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is not supported (supported: {', '.join(DTYPES)})")
    return dtype


def read_tokenizer(folder: Path) -> Tokenizer:
    """Loads a tokenizer from a folder on this machine or in a store; see `load_tokenizer`."""
    with local_files(folder, COMPANIONS) as here:
        return load_tokenizer(here)


def origin_of(located: Located, path: Path | None = None) -> Parent:
    """A model as a parent in a lineage. Of several processes only the main one hashes it.

    The others, which write no lineage, have '' for its hash.

    Args:
      path: the part of what `resolve` found that is meant; None is all of it.
    """
    path = located.path if path is None else path
    if is_main_process():
        return Parent.of("model", path, located.reference, located.files)
    return Parent("model", located.reference, "", str(absolute(path)), located.files)


def write_companions(folder: Path, model: AnyModel) -> None:
    """Writes the files beside the weights: tokenizer, chat template and generation defaults."""
    if model.tokenizer is not None:
        model.tokenizer.save(folder)
    # The ids that end a generation may come from the config: here they are always written.
    generation = {**model.generation_config, "eos_token_id": list(model.eos_ids) or None}
    write_json(folder / GENERATION, {k: v for k, v in generation.items() if v is not None})
