"""A model reference opened: all that describes the model, its tensors left where they lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import Parent
from vcjax.core.stores import absolute, local_files
from vcjax.model.config import LlamaConfig
from vcjax.parallel import is_main_process
from vcjax.text.tokenizer import MissingTokenizer, Tokenizer, load_tokenizer
from vcjax.weights.checkpoint import CheckpointSource
from vcjax.weights.gguf import GGUFSource
from vcjax.weights.hf import HFSource
from vcjax.weights.hub import COMPANIONS
from vcjax.weights.mapping import Source
from vcjax.weights.resolve import CHECKPOINT_MARK, Located

GENERATION = "generation_config.json"


@dataclass(frozen=True)
class StoredModel:
    """A model on disk.

    Attributes:
      config: static shape.
      source: its tensors, each read when it is asked for.
      tokenizer: None where the source has none.
      generation_config: raw generation defaults.
      stored_dtype: dtype to export in by default: the source's own, float32 where it was quantised.
      origin: the source as a parent in a lineage.
    """

    config: LlamaConfig
    source: Source
    tokenizer: Tokenizer | None
    generation_config: dict[str, Any]
    stored_dtype: str
    origin: Parent

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Every id that ends a generation."""
        return eos_ids(self.generation_config, self.config)

    def require_tokenizer(self) -> Tokenizer:
        """The tokenizer, or a UserError that says the source has none."""
        return required(self.tokenizer, self.origin)


def required(tokenizer: Tokenizer | None, origin: Parent) -> Tokenizer:
    """Returns a model's tokenizer.

    Raises:
      MissingTokenizer: the source has none.
    """
    if tokenizer is None:
        raise MissingTokenizer(f"{origin.reference}: this model has no tokenizer")
    return tokenizer


def eos_ids(generation_config: dict[str, Any], config: LlamaConfig) -> tuple[int, ...]:
    """Every id that ends a generation, from `generation_config.json`, else from `config.json`."""
    found = generation_config.get("eos_token_id")
    ids = config.eos_ids if found is None else found
    return (ids,) if isinstance(ids, int) else tuple(ids)


def open_stored(located: Located) -> StoredModel:
    """Opens a Hugging Face folder, a GGUF file or a checkpoint.

    The tensors' names and shapes are for `check_tensors` or `import_params` to check.

    Raises:
      UserError: see `LlamaConfig.from_hf`, `HFSource`, `GGUFSource` and `CheckpointSource`.
    """
    path, origin = located.path, origin_of(located)
    if located.kind == "gguf":
        gguf = GGUFSource(path)
        tokenizer = Tokenizer(gguf.tokenizer())
        stored, config = gguf.config["torch_dtype"], _config(gguf.config, located)
        return StoredModel(config, gguf, tokenizer, gguf.generation_config, stored, origin)
    if located.kind == "hf":
        hf = HFSource(path)
        tokenizer, config = _tokenizer(path), _config(hf.config, located)
        return StoredModel(config, hf, tokenizer, hf.generation_config, hf.dtype, origin)
    stored = read_json(path / CHECKPOINT_MARK)["dtype"]
    config = _config(read_json(path / "config.json"), located)
    generation = read_json(path / GENERATION) if (path / GENERATION).is_file() else {}
    source = CheckpointSource(path, config)
    return StoredModel(config, source, _tokenizer(path), generation, stored, origin)


def read_tokenizer(folder: Path) -> Tokenizer:
    """Loads a tokenizer from a folder on this machine or in a store; see `load_tokenizer`."""
    with local_files(folder, COMPANIONS) as here:
        return load_tokenizer(here)


def origin_of(located: Located, path: Path | None = None) -> Parent:
    """A model as a parent in a lineage. Where several processes run, only the main one hashes it.

    The others, which write no lineage, have '' for its hash.

    Args:
      path: the part of what `resolve` found that is meant; None is all of it.
    """
    path = located.path if path is None else path
    if is_main_process():
        return Parent.of("model", path, located.reference, located.files)
    return Parent("model", located.reference, "", str(absolute(path)), located.files)


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
