"""The same road from a notebook: `vcjax.load(...)` and what its model can do."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.lineage import NAME, read_lineage
from vcjax.core.stores import as_path, reached
from vcjax.generate.engine import Engine
from vcjax.generate.likelihood import log_likelihood, score_answers
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import Context, TextEngine
from vcjax.model.build import plain_logits
from vcjax.model.config import LlamaConfig
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.export import save_model
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel


class Model:
    """A loaded model: score, continue, save."""

    def __init__(self, loaded: LoadedModel, charter: Charter | None = None) -> None:
        self.loaded, self.charter = loaded, charter

    @property
    def config(self) -> LlamaConfig:
        """The static shape."""
        return self.loaded.config

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; a UserError where the source has none."""
        return self.loaded.require_tokenizer()

    @property
    def lineage(self) -> dict[str, Any]:
        """The source's `lineage.json`, or its reference and content hash where it has none."""
        origin = self.loaded.origin
        if origin.path is not None and (as_path(origin.path) / NAME).is_file():
            return read_lineage(origin.path)
        return {"reference": origin.reference, "hash": origin.hash, "parents": []}

    @cached_property
    def engine(self) -> Engine:
        """The engine on this model; it has the parameters on the devices."""
        dtype = jnp.dtype(self.loaded.dtype)
        return Engine(self.config, self.loaded.params, dtype=dtype)

    @cached_property
    def text(self) -> TextEngine:
        """The engine with the tokenizer and chat template."""
        return TextEngine(self.loaded, self.engine)

    def logits(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length vocab"]:
        """Logits of every next token, float32; each row is one text from position 0."""
        tokens = jnp.asarray(tokens)
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise UserError(f"tokens must be integers [batch, length], not {jax.typeof(tokens)}")
        return plain_logits(self.engine.graph, self.engine.params, tokens)

    def score_answers(
        self, contexts: Sequence[Context], answers: Sequence[Sequence[str]], **options: Any
    ) -> list[list[float]]:
        """See `vcjax.generate.likelihood.score_answers`, which has the options."""
        engine = self.engine
        return score_answers(
            engine.graph, engine.params, self.tokenizer, contexts, answers, **options
        )

    def log_likelihood(
        self, contexts: Sequence[Context], continuations: Sequence[str]
    ) -> list[tuple[float, bool]]:
        """See `vcjax.generate.likelihood.log_likelihood`."""
        return log_likelihood(
            self.engine.graph,
            self.engine.params,
            self.tokenizer,
            contexts,
            continuations,
            max_position=self.config.max_position,
        )

    def generate(self, prompts: Sequence[Context], **sampling: Any) -> list[str]:
        """Continues texts or conversations; keywords are the fields of `SamplingParams`."""
        return self.text.generate(prompts, SamplingParams(**sampling))

    def save(self, path: str | Path, format: str = "hf", dtype: str | None = None) -> None:
        """Writes the model as a Hugging Face folder (`hf`) or a vcjax `checkpoint`."""
        save_model(self.loaded, reached(path), form=format, dtype=dtype)


def load(reference: str, dtype: str | None = None, charter: Charter | None = None) -> Model:
    """Loads any model reference: folder, hub id, GGUF, checkpoint, workdir or shipped name."""
    return Model(load_model(reference, dtype), charter)
