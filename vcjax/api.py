"""The same road from a notebook: `vcjax.load(...)` and what its model can do."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError
from vcjax.core.lineage import NAME, read_lineage
from vcjax.core.stores import as_path, reached
from vcjax.generate.engine import Engine
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.fleet import Fleet
from vcjax.generate.layout import ModelLayout
from vcjax.generate.likelihood import log_likelihood, score_answers
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import Context, TextEngine
from vcjax.model.build import Params, plain_logits
from vcjax.model.config import LlamaConfig
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.export import save_model
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel


class Model:
    """A loaded model: it scores, continues and is saved. `vcjax.load` makes one.

    Attributes:
      loaded: the parameters with their config, tokenizer and origin.
      charter: the one that `load` was given; None without one. No method follows it by itself:
        `charter.system_prompt(lang)` is what an Actor is given.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        charter: Charter | None = None,
        config: EngineConfig | None = None,
    ) -> None:
        """Args: `config` has the copies and their devices; None is one copy on one device."""
        self.loaded, self.charter = loaded, charter
        self._engine_config = EngineConfig(replicas=1) if config is None else config

    @property
    def config(self) -> LlamaConfig:
        """The static shape: sizes, heads, RoPE, biases, and the ids that begin and end a text."""
        return self.loaded.config

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, with the model's chat template.

        Raises:
          UserError: the source has none.
        """
        return self.loaded.require_tokenizer()

    @property
    def lineage(self) -> dict[str, Any]:
        """The source's `lineage.json`, or its reference and content hash where it has none."""
        origin = self.loaded.origin
        if origin.path is not None and (as_path(origin.path) / NAME).is_file():
            return read_lineage(origin.path)
        return {"reference": origin.reference, "hash": origin.hash, "parents": []}

    @cached_property
    def params(self) -> Params:
        """The parameters on the devices of the first copy, layer by layer, put there on first use;
        `graph` runs them.

        The engine shares them: scoring needs neither it nor the memory of its cache.
        """
        return self._layouts[0].apply(self.loaded.params)

    @cached_property
    def copies(self) -> list[Params]:
        """Those of the further copies, put on their devices on first use; see `load`."""
        return [layout.apply(self.loaded.params) for layout in self._layouts[1:]]

    @property
    def graph(self) -> Any:
        """The static graph of the model that runs `params`."""
        return self._layouts[0].graph

    @cached_property
    def _layouts(self) -> list[ModelLayout]:
        return self._engine_config.layouts(self.config, self.loaded.dtype)

    @cached_property
    def engine(self) -> Engine | Fleet:
        """The engine on this model, made on first use; with several copies, theirs as one."""
        return self._engine_config.engine(self.loaded, params=[self.params, *self.copies])

    @cached_property
    def text(self) -> TextEngine:
        """The engine with the tokenizer and chat template: it streams, and takes ids as prompts.

        Raises:
          UserError: the source has no tokenizer.
        """
        return TextEngine(self.loaded, self.engine)

    def logits(self, tokens: Int[Array, "batch length"]) -> Float[Array, "batch length vocab"]:
        """Logits of every next token, whole and without a cache.

        Args:
          tokens: ids; each row is one text, which starts at position 0.

        Returns:
          float32; `[i, j]` are the logits of what follows token j of row i.

        Raises:
          UserError: not integers `[batch, length]`, or one that isn't in the vocabulary.
        """
        tokens = jnp.asarray(tokens)
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise UserError(f"tokens must be integers [batch, length], not {jax.typeof(tokens)}")
        # On the devices an index beyond the vocabulary is not an error. Within a compiled function
        # the tokens aren't known yet.
        if not isinstance(tokens, Tracer):
            strange = tokens[(tokens < 0) | (tokens >= self.config.vocab_size)]
            if strange.size:
                raise UserError(
                    f"token {strange[0]} isn't in the model's vocabulary of "
                    f"{self.config.vocab_size}; were the tokens made by another tokenizer?"
                )
        return plain_logits(self.graph, self.params, tokens)

    def score_answers(
        self, contexts: Sequence[Context], answers: Sequence[Sequence[str]], **options: Any
    ) -> list[list[float]]:
        """The natural log-probability of each answer to each context, all tokens of it together.

        A context is run once for all of its answers; what ends a turn isn't scored.

        Args:
          contexts: texts, or conversations that the assistant's turn follows.
          answers: of each context.
          options: see `vcjax.generate.likelihood.score_answers`, but for `copies`.

        Returns:
          A list of floats, in nats, for each context, in the order of its answers.

        Raises:
          UserError: not as many lists of answers as contexts, answers that are no list, an empty
            answer, a conversation that can't be rendered, or an answer that doesn't fit the model's
            context behind its conversation.
        """
        return score_answers(
            self.graph,
            self.params,
            self.tokenizer,
            contexts,
            answers,
            copies=self.copies,
            **options,
        )

    def log_likelihood(
        self, contexts: Sequence[Context], continuations: Sequence[str]
    ) -> list[tuple[float, bool]]:
        """For each pair the natural log-probability of the continuation, in nats, and whether each
        of its tokens is the most likely one.

        Texts are encoded and cut as EleutherAI's evaluation harness does; see
        `vcjax.generate.likelihood.encode_pair`.

        Args:
          contexts: texts, or conversations that the assistant's turn follows; one for each
            continuation.

        Raises:
          UserError: not as many continuations as contexts, an empty continuation, a conversation
            that can't be rendered, or a pair that is longer than the model's context.
        """
        return log_likelihood(
            self.graph,
            self.params,
            self.tokenizer,
            contexts,
            continuations,
            max_position=self.config.max_position,
            copies=self.copies,
        )

    def generate(self, prompts: Sequence[Context], **sampling: Any) -> list[str]:
        """Continues all texts or conversations together, and returns the new text of each.

        Prompt i draws from a seed derived from (`seed`, i), whatever else is in the batch.

        Args:
          prompts: texts, or conversations, which are rendered in the model's chat template.
          sampling: the fields of `vcjax.generate.requests.SamplingParams`: `max_tokens`,
            `temperature`, `seed`, `stop`, `json_schema` and so on.

        Raises:
          UserError: a single prompt in place of a list, one that doesn't fit the model's context,
            or a value out of its bounds.
        """
        return self.text.generate(prompts, SamplingParams(**sampling))

    def save(self, path: str | Path, format: str = "hf", dtype: str | None = None) -> None:
        """Writes a folder with model card and lineage, whole or not at all.

        Args:
          path: of the new folder, on this machine or in a store.
          format: `hf` (sharded safetensors), `checkpoint` (Orbax) or `gguf` (one file).
          dtype: of the written weights; None is the source's own, and float32 where the source is
            quantised.

        Raises:
          UserError: there is something at `path` already, or an unknown format or dtype.
        """
        save_model(self.loaded, reached(path), form=format, dtype=dtype)


def load(
    reference: str,
    dtype: str | None = None,
    charter: Charter | None = None,
    *,
    tensor: int = 1,
    replicas: int = 1,
) -> Model:
    """Loads any model reference: folder, hub id, GGUF, checkpoint, workdir or shipped name.

    A workdir of `launch.train` is its last good step, with adapters merged. With several copies
    each has an engine and devices of its own: texts are generated and scored by all of them, and
    come out as those of one.

    Args:
      reference: see the page on model references; a hub id may end with `@REVISION`.
      dtype: of the parameters in memory and of the arithmetic, e.g. `bfloat16`; None is the
        source's own.
      charter: the model's `charter`, of `vcjax.charter.load.load_charter`.
      tensor: devices that share each copy of the model.
      replicas: copies; 0 is as many as this machine has devices for, as scripts have by default. In
        a notebook the default is one, which leaves the other devices to what else it does.

    Raises:
      UserError: there is no such model, it isn't of a supported architecture, or its tensors aren't
        those that its config asks for; or this machine has fewer devices.
    """
    config = EngineConfig(tensor=tensor, replicas=replicas)
    config.devices()  # before the model is read: there may be too few
    return Model(load_model(reference, dtype), charter, config)
