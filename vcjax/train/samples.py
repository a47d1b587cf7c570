"""Answers to fixed prompts, sampled from the model while it trains."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import Parent
from vcjax.generate.engine import Engine
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import Prompt, TextEngine, encode_prompt
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import unstack
from vcjax.model.lora import LoraConfig, join_params, merge_lora
from vcjax.text.tokenizer import load_tokenizer
from vcjax.train.config import TrainConfig
from vcjax.weights.model import GENERATION, LoadedModel, StoredModel
from vcjax.weights.workdir import MODEL

FIELD = "validation.prompts"
SLOTS = 16
"""Prompts that are answered at the same time, at most."""


def check_prompts(config: TrainConfig, model: StoredModel) -> tuple[str, ...]:
    """The prompts of `config.validation.prompts`, one a line; blank lines are left out.

    Raises:
      UserError: no such file, no prompt in it, or one that doesn't fit the model with its answer;
        several processes, among which the engine can't be shared.
    """
    path = Path(config.validation.prompts)
    if jax.process_count() > 1:
        raise UserError(
            f"config.{FIELD}: answers can't be sampled where several processes train together; "
            "make it ''"
        )
    if not path.is_file():
        raise UserError(f"config.{FIELD}: {path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"config.{FIELD}: {path}: not UTF-8 ({error.reason})") from None
    tokenizer, most = model.require_tokenizer(), model.config.max_position
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        length = len(encode_prompt(tokenizer, _as_prompt(line, config)))
        if length + config.validation.max_tokens > most:
            raise UserError(
                f"config.{FIELD}: {path}:{number}: a prompt of {length} tokens and an answer of "
                f"{config.validation.max_tokens} don't fit the model's {most} positions; "
                "shorten it or lower config.validation.max_tokens"
            )
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise UserError(f"config.{FIELD}: {path}: no prompt in it")
    return prompts


class Samples:
    """Greedy answers to the same prompts each time, by the engine that serves finished models.

    Meanwhile the devices need memory for the whole model once more, adapters merged, in the compute
    dtype, and for the engine's cache; it is free again afterwards.
    """

    def __init__(
        self, prompts: tuple[str, ...], config: TrainConfig, model: LlamaConfig, workdir: Path
    ) -> None:
        """`workdir/model` has the tokenizer and what ends an answer."""
        self.prompts, self._config, self._model = prompts, config, model
        self._tokenizer = load_tokenizer(workdir / MODEL)
        self._generation = read_json(workdir / MODEL / GENERATION)
        self._requests = [_as_prompt(prompt, config) for prompt in prompts]

    def generate(self, trainable: Params, frozen: Params) -> list[str]:
        """The answers of the model as it is now, in the order of the prompts."""
        config, dtype = self._config, jnp.dtype(self._config.dtype)
        params = plain_params(trainable, frozen, config.adapters, dtype)
        # Parameters change between calls, so there's nothing that a cache of prefixes could reuse.
        slots = min(len(self.prompts), SLOTS)
        engine = Engine(self._model, params, slots=slots, dtype=dtype, prefix_tokens=0)
        loaded = LoadedModel(
            config=self._model,
            params=params,
            tokenizer=self._tokenizer,
            generation_config=self._generation,
            dtype=config.dtype,
            stored_dtype=config.dtype,
            origin=Parent("model", config.model, ""),
        )
        # Temperature 0, the default: what differs between two measurements is then the model.
        sampling = SamplingParams(max_tokens=config.validation.max_tokens)
        return TextEngine(loaded, engine).generate(self._requests, sampling)


def _as_prompt(line: str, config: TrainConfig) -> Prompt:
    """A text to continue, for a model that is trained on documents; else a question to answer."""
    text = line.strip()
    return text if config.kind == "documents" else [{"role": "user", "content": text}]


@partial(jax.jit, static_argnames=("lora", "dtype"))
def plain_params(trainable: Params, frozen: Params, lora: LoraConfig | None, dtype: Any) -> Params:
    """The parameters of the plain model: adapters merged, in `dtype`, layers unstacked."""
    whole = join_params(trainable, frozen)
    if lora is not None:
        whole = merge_lora(whole, lora)
    return unstack(jax.tree.map(lambda leaf: leaf.astype(dtype), whole))
