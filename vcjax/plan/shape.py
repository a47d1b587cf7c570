"""The shape of a model, from its name or its files; weights are neither fetched nor read."""

from vcjax.core.files import read_json
from vcjax.model.config import LlamaConfig
from vcjax.model.named import NAMED
from vcjax.weights.gguf import GGUFSource
from vcjax.weights.resolve import resolve
from vcjax.weights.workdir import MODEL

CONFIG = "config.json"


def read_shape(reference: str) -> LlamaConfig:
    """The shape of a model reference, or of a name of `vcjax.model.named`.

    Raises:
      UserError: nothing is there, or what is there is no model.
    """
    if reference in NAMED:
        return NAMED[reference]
    located = resolve(reference, wanted=[CONFIG])
    if located.kind == "gguf":
        return LlamaConfig.from_hf(GGUFSource(located.path).config)
    folder = located.path / MODEL if located.kind == "workdir" else located.path
    return LlamaConfig.from_hf(read_json(folder / CONFIG))
