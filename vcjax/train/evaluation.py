"""What a run measures of its model every few steps: losses on held-out rows, sampled answers."""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import Parent
from vcjax.data.loader import in_order
from vcjax.data.prepared import Prepared
from vcjax.generate.engine import Engine
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import Prompt, TextEngine, encode_prompt
from vcjax.model.build import Params
from vcjax.model.config import LlamaConfig
from vcjax.model.llama import unstack
from vcjax.model.lora import LoraConfig, join_params, merge_lora
from vcjax.parallel import on_main_process, replicated
from vcjax.text.tokenizer import load_tokenizer
from vcjax.train.config import TrainConfig
from vcjax.train.layout import Layout, local_rows, shard_batch
from vcjax.train.logging import VALIDATION, Log, finite, read_lines
from vcjax.train.losses import Loss
from vcjax.train.stopping import EarlyStopping
from vcjax.train.validation_data import Group
from vcjax.weights.model import GENERATION, LoadedModel, StoredModel
from vcjax.weights.workdir import MODEL

PROMPTS = "validation.prompts"
SLOTS = 16
"""Prompts that are answered at the same time, at most."""

Sums = dict[str, float]


class Evaluation:
    """Measures when it is due, and remembers what earlier starts have measured.

    Attributes:
      stopping: the rule that ends a run early, after all measurements so far.
    """

    def __init__(
        self,
        config: TrainConfig,
        validation: "ValidationLoss | None",
        samples: "Samples | None",
        workdir: Path,
        done: int,
    ) -> None:
        """`done` is the number of steps that the run continues from."""
        self._config, self._validation, self._samples = config, validation, samples
        self._lines = on_main_process(lambda: read_lines(workdir / VALIDATION, done))
        losses = ((line["step"], line["loss"]) for line in self._lines)
        self.stopping = EarlyStopping.after(config.validation.patience, losses)

    def due(self, step: int) -> bool:
        """Whether to measure after `step` steps: at the start, every few steps, at the end."""
        every = self._config.validation.every
        return every > 0 and (step % every == 0 or step == self._config.steps)

    def measure(
        self, step: int, trainable: Params, frozen: Params, log: Log | None
    ) -> float | None:
        """Measures the model after `step` steps; returns its validation loss, if there is data.

        Every process calls it; the main process has the log, and its loss is the one that counts.
        """
        loss = None
        if self._validation is not None:
            # As the file will have it (None for NaN), so that a start which reads it goes on alike.
            line = finite({"step": step, **self._validation.measure(trainable, frozen)})
            self._lines.append(line)
            # All processes must stop at the same step, so one of them decides.
            loss = on_main_process(lambda: line["loss"])
            self.stopping.add(step, loss)
            if log is not None:
                log.write_validation(line)
        if self._samples is not None and log is not None:
            answers = self._samples.generate(trainable, frozen)
            log.write_samples(step, self._samples.prompts, answers)
        return loss

    def summary(self) -> dict[str, Any]:
        """Its part of `summary.json`; {} where no loss was measured.

        Returns:
          `validation`: `first_loss, last_loss, best_loss, best_step`; `stopped_early`: the step,
          only where the run did.
        """
        if not self._lines:
            return {}
        about = {
            "first_loss": self._lines[0]["loss"],
            "last_loss": self._lines[-1]["loss"],
            "best_loss": self.stopping.best_loss,
            "best_step": self.stopping.best_step,
        }
        stopped = self.stopping.stopped
        return {"validation": about, **({} if stopped is None else {"stopped_early": stopped})}


class ValidationLoss:
    """The objective's loss on all rows of each group, a microbatch of them at a time.

    One computation is compiled, laid out over the mesh as the training step is. Beside the model,
    the devices need memory for the activations of a microbatch's forward pass.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        config: TrainConfig,
        layout: Layout,
        loss: Loss,
    ) -> None:
        """Compiles nothing yet."""
        self._groups, self._mesh = groups, layout.mesh
        self._rows = config.batch_size // config.microbatches
        self._in_nats = config.objective == "next_token"

        def sums(trainable: Params, frozen: Params, batch: dict[str, Array]) -> dict[str, Array]:
            total, others = loss(nnx.merge(layout.graph, join_params(trainable, frozen)), batch)
            return {"loss": total, **others}

        self._sums = jax.jit(sums, out_shardings=replicated(layout.mesh))

    def measure(self, trainable: Params, frozen: Params) -> dict[str, Any]:
        """Means over all predicted tokens (pairs, for preferences), whichever group they are in.

        Returns:
          `loss`, `perplexity` (e to the loss; not for preferences, whose loss is none of a
          token), `count` (of what the means are over) and what else the objective measures; the
          same for each of `groups`, `languages` and `domains`; `seconds`.
        """
        start = time.perf_counter()
        of_group = [(group, self._total(trainable, frozen, group.rows)) for group in self._groups]
        line: dict[str, Any] = self._means([sums for _, sums in of_group])
        for kind, field in (("groups", "name"), ("languages", "lang"), ("domains", "domain")):
            parts: dict[str, list[Sums]] = defaultdict(list)
            for group, sums in of_group:
                if (name := getattr(group, field)) is not None:
                    parts[name].append(sums)
            line[kind] = {name: self._means(parts[name]) for name in sorted(parts)}
        return {**line, "seconds": time.perf_counter() - start}

    def _total(self, trainable: Params, frozen: Params, rows: Prepared) -> Sums:
        total: Sums = defaultdict(float)
        pending: list[dict[str, Array]] = []
        for _, batch in in_order(rows, self._rows, local_rows(self._mesh, self._rows)):
            sharded = shard_batch(batch, self._mesh, self._rows)
            pending.append(self._sums(trainable, frozen, sharded))
            if len(pending) > 1:  # one is computed while the next one's rows are read
                _add(total, pending.pop(0))
        _add(total, pending.pop())
        return total

    def _means(self, parts: list[Sums]) -> dict[str, float]:
        totals = {name: sum(part[name] for part in parts) for name in parts[0]}
        count = totals.pop("count")
        means = {name: total / max(count, 1) for name, total in totals.items()}
        if self._in_nats:
            means["perplexity"] = perplexity(means["loss"])
        return {**means, "count": int(count)}


def perplexity(loss: float) -> float:
    """e to a mean loss in nats; infinite where float64 has no number for it."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _add(total: Sums, sums: dict[str, Array]) -> None:
    for name, value in jax.device_get(sums).items():
        # On the host, where Python's floats are float64: a sum of thousands of batches loses no
        # digits.
        total[name] += float(value)


# --- answers to fixed prompts --------------------------------------------------------------------


def check_prompts(config: TrainConfig, model: StoredModel) -> tuple[str, ...]:
    """The prompts of `config.validation.prompts`, one a line; blank lines are left out.

    Raises:
      UserError: no such file, no prompt in it, or one that doesn't fit the model with its answer;
        several processes, among which the engine can't be shared.
    """
    path = Path(config.validation.prompts)
    if jax.process_count() > 1:
        raise UserError(
            f"config.{PROMPTS}: answers can't be sampled where several processes train together; "
            "make it ''"
        )
    if not path.is_file():
        raise UserError(f"config.{PROMPTS}: {path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"config.{PROMPTS}: {path}: not UTF-8 ({error.reason})") from None
    tokenizer, most = model.require_tokenizer(), model.config.max_position
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        length = len(encode_prompt(tokenizer, _as_prompt(line, config)))
        if length + config.validation.max_tokens > most:
            raise UserError(
                f"config.{PROMPTS}: {path}:{number}: a prompt of {length} tokens and an answer of "
                f"{config.validation.max_tokens} don't fit the model's {most} positions; "
                "shorten it or lower config.validation.max_tokens"
            )
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise UserError(f"config.{PROMPTS}: {path}: no prompt in it")
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
