"""The configuration of a training run: data with a schema, every mistake named by its field."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from vcjax.core.errors import UserError, suggest
from vcjax.core.settings import build
from vcjax.data.columns import check_columns
from vcjax.data.messages import TOOL_TURNS
from vcjax.model.attention.packed import BACKENDS
from vcjax.model.layers import POLICIES
from vcjax.model.lora import LoraConfig

STAGES = ("cpt", "sft", "adversarial")
OBJECTIVES = ("next_token", "dpo", "orpo")
KINDS = ("documents", "conversations", "preferences")
DTYPES = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "adafactor", "lion", "muon")
SCHEDULES = ("cosine", "linear", "wsd", "constant")
SINKS = ("", "wandb", "trackio")


RECORDS = (*KINDS, "replay")
"""Fields of a training run that name data."""


def kind_of(stage: str, objective: str) -> str:
    """Kind of the records that a stage trains on with an objective."""
    if objective != "next_token":
        return "preferences"
    return "documents" if stage == "cpt" else "conversations"


def with_pairs_to_come(training: Mapping[str, Any]) -> dict[str, Any]:
    """A training section whose data are pairs that the stages before it will make.

    It names `(pairs)` as the kind of data that its objective takes, and none of another kind; what
    it replays stays.
    """
    kind = kind_of(training.get("stage", ""), training.get("objective", ""))
    return {**training, **dict.fromkeys(KINDS, ""), kind: "(pairs)"}


@dataclass(frozen=True)
class LoraSettings:
    """`rank` 0 is full fine-tuning; `targets` is a pattern over the names of the projections.

    `dropout` is the share of an adapter's inputs that is left out in training. `base` is the form
    of the frozen weights: `` (the compute dtype), `int8` or `nf4` (QLoRA, arXiv 2305.14314).
    """

    rank: int
    alpha: float
    targets: str
    dropout: float
    base: str

    def __post_init__(self) -> None:
        _at_least("rank", self.rank, 0)
        _positive("alpha", self.alpha)
        _between("dropout", self.dropout, 0, 1)
        _one_of("base", self.base, ("", "int8", "nf4"))
        if self.base and not self.rank:
            _refuse("base", f"{self.base!r} weights can't be trained; set lora.rank above 0")


@dataclass(frozen=True)
class MeshSettings:
    """Sizes of the mesh axes; one may be -1: whatever is left of the devices."""

    data: int
    fsdp: int
    tensor: int
    sequence: int


@dataclass(frozen=True)
class GroupSettings:
    """Parameters whose path matches `pattern` (whole path, e.g. `layers.q.kernel`).

    `learning_rate` and `weight_decay` multiply those of the run; a rate of 0 freezes the group.
    """

    pattern: str
    learning_rate: float
    weight_decay: float

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            _refuse("pattern", f"{self.pattern!r} is not a pattern: {error}")
        for field in ("learning_rate", "weight_decay"):
            _not_negative(field, getattr(self, field))


@dataclass(frozen=True)
class PreferenceSettings:
    """`beta` of DPO (arXiv 2305.18290) and `odds_weight`, the lambda of ORPO (2403.07691)."""

    beta: float
    odds_weight: float

    def __post_init__(self) -> None:
        _positive("beta", self.beta)
        _positive("odds_weight", self.odds_weight)


@dataclass(frozen=True)
class ValidationSettings:
    """What is measured while a run trains.

    Attributes:
      data: held-out records of the run's kind, files or prepared folders; '' is none.
      every: steps between measurements; 0 is never. There is one before the first step and one
        after the last, too.
      batches: the most batches of each language and domain that are measured, always the same.
      patience: measurements without a lower loss after which the run stops early; 0 is never.
      prompts: a text file, one prompt a line, answered at each measurement; '' is none.
      max_tokens: of such an answer.
      similarity: to a record that is measured on, from 0.7 on, that a record that is trained on
        must not have; 1 is exact duplicates alone. See `vcjax.data.overlap`.
    """

    data: str
    every: int
    batches: int
    patience: int
    prompts: str
    max_tokens: int
    similarity: float = 0.8

    def __post_init__(self) -> None:
        if not 0.7 <= self.similarity <= 1:
            _refuse("similarity", f"must be in [0.7, 1], not {self.similarity}")
        for field, least in (("every", 0), ("batches", 1), ("patience", 0), ("max_tokens", 1)):
            _at_least(field, getattr(self, field), least)
        if self.every and not (self.data.strip() or self.prompts.strip()):
            _refuse("every", "has nothing to measure; name validation.data or .prompts")
        if self.patience and not (self.every and self.data.strip()):
            _refuse("patience", "needs validation.data and validation.every")


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run; with the content of the inputs, its identity.

    Attributes:
      stage: one of STAGES.
      objective: `next_token`; for the adversarial stage also `dpo` or `orpo`, on preferences.
      model: a model reference.
      documents, conversations, preferences: data of the stage and objective, prepared folders or
        raw files, comma-separated; those that aren't trained on are ''.
      replay: more data of the same kind, or prepared folders of any kind that isn't preferences;
        with preferences, preferences alone. '' is none.
      replay_weight: rows drawn from `replay` for each row of the stage's own data.
      charter: name or file of the charter that the data was made for, recorded in the lineage.
      steps: optimiser steps.
      batch_size: rows a step (pairs, for preferences).
      microbatches: parts in which a step's rows are computed, one after the other.
      length: tokens a row.
      learning_rate: at its peak, after `warmup_steps` steps of linear growth.
      schedule: from the peak to `learning_rate * final_learning_rate_ratio` at the last step, by
        a `cosine`, a line (`linear`), or flat and then a line over the last `decay_steps` (`wsd`);
        `constant` stays.
      optimizer: one of OPTIMIZERS.
      weight_decay: of matrices; norms, biases and adapters have none.
      b1, b2: decay rates of the moments.
      clip_norm: largest global norm of a gradient.
      groups: multipliers by parameter, the first pattern that matches decides.
      max_skipped: updates in a row that may be skipped, for a loss or gradient that isn't finite;
        the next one ends the run.
      dtype: of the computation; parameters and moments are float32 always.
      attention: one of `vcjax.model.attention.packed.BACKENDS`.
      remat: one of `vcjax.model.layers.POLICIES`, what the backward pass computes again.
      offload: keep the optimiser's state in the host's memory, where the backend can.
      checkpoint_every: steps between checkpoints; the last step has one too.
      keep: latest checkpoints kept.
      keep_best: checkpoints kept beside them for their validation loss.
      sink: where metrics go beside the workdir; '' is nowhere.
      on_bad_record: `error` or `quarantine`, where raw files are prepared.
      columns: names of columns in raw files for ours, `question:prompt,answer:response`; '' is
        none.
      tool_turns: `leave_out` or `train`; see `vcjax.data.messages.settle_tools`.
      require_domain: a record without a domain is a bad one, as it can't be held out.
    """

    stage: str
    objective: str
    model: str
    documents: str
    conversations: str
    preferences: str
    replay: str
    replay_weight: float
    charter: str
    steps: int
    batch_size: int
    microbatches: int
    length: int
    learning_rate: float
    schedule: str
    warmup_steps: int
    decay_steps: int
    final_learning_rate_ratio: float
    optimizer: str
    weight_decay: float
    b1: float
    b2: float
    clip_norm: float
    groups: tuple[GroupSettings, ...]
    max_skipped: int
    dtype: str
    attention: str
    remat: str
    offload: bool
    lora: LoraSettings
    mesh: MeshSettings
    preference: PreferenceSettings
    validation: ValidationSettings
    checkpoint_every: int
    keep: int
    keep_best: int
    sink: str
    seed: int
    on_bad_record: str
    columns: str = ""
    tool_turns: str = "leave_out"
    require_domain: bool = False

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | ConfigDict) -> "TrainConfig":
        """Checks and freezes a configuration.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range.
        """
        plain = values.to_dict() if isinstance(values, ConfigDict) else values
        return build(cls, plain, "config")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain nested dicts, ready for JSON."""
        return dataclasses.asdict(self)

    @property
    def kind(self) -> str:
        """Kind of the run's records, which is the name of the field with their files."""
        return kind_of(self.stage, self.objective)

    @property
    def rows(self) -> int:
        """Rows a step; a pair of preferences has two."""
        return self.batch_size * (2 if self.kind == "preferences" else 1)

    @property
    def adapters(self) -> LoraConfig | None:
        """The adapters to train, or None for full fine-tuning."""
        if not self.lora.rank:
            return None
        return LoraConfig(**dataclasses.asdict(self.lora))

    def __post_init__(self) -> None:
        _one_of("stage", self.stage, STAGES)
        _one_of("objective", self.objective, OBJECTIVES)
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("attention", self.attention, BACKENDS)
        _one_of("remat", self.remat, tuple(POLICIES))
        _one_of("sink", self.sink, SINKS)
        _one_of("on_bad_record", self.on_bad_record, ("error", "quarantine"))
        _one_of("tool_turns", self.tool_turns, TOOL_TURNS)
        check_columns(self.columns)
        self._check_data()
        for field in ("steps", "batch_size", "microbatches", "checkpoint_every", "keep"):
            _at_least(field, getattr(self, field), 1)
        _at_least("length", self.length, 2)
        for field in ("warmup_steps", "decay_steps", "max_skipped", "keep_best", "seed"):
            _at_least(field, getattr(self, field), 0)
        for field in ("learning_rate", "replay_weight", "clip_norm"):
            _positive(field, getattr(self, field))
        _not_negative("weight_decay", self.weight_decay)
        _between("b1", self.b1, 0, 1)
        _between("b2", self.b2, 0, 1)
        if not 0 <= self.final_learning_rate_ratio <= 1:
            ratio = self.final_learning_rate_ratio
            _refuse("final_learning_rate_ratio", f"must be in [0, 1], not {ratio}")
        self._check_schedule()
        if self.batch_size % self.microbatches:
            given = f"{self.batch_size} is no multiple of microbatches {self.microbatches}"
            _refuse("batch_size", given)
        if self.keep_best and not (self.validation.every and self.validation.data.strip()):
            _refuse("keep_best", "needs validation.data and validation.every")
        try:
            _ = self.adapters
        except UserError as error:
            raise UserError(f"config.{error}") from None

    def _check_data(self) -> None:
        if not self.model.strip():
            _refuse("model", "is empty; name a model")
        if self.objective != "next_token" and self.stage != "adversarial":
            _refuse("objective", f"{self.objective!r} is for the adversarial stage")
        what = f"stage {self.stage!r} trains on {self.kind}"
        if self.objective != "next_token":
            what = f"objective {self.objective!r} trains on {self.kind}"
        if not getattr(self, self.kind).strip():
            _refuse(self.kind, f"is empty; {what}")
        for unused in KINDS:
            if unused != self.kind and getattr(self, unused).strip():
                _refuse(unused, f"must be '': {what}; name them there, or in replay")

    def _check_schedule(self) -> None:
        if self.warmup_steps > self.steps:
            _refuse("warmup_steps", f"{self.warmup_steps} is longer than the run of {self.steps}")
        if self.decay_steps and self.schedule != "wsd":
            _refuse("decay_steps", f"must be 0: schedule {self.schedule!r} has no such phase")
        if self.schedule == "wsd" and not self.decay_steps:
            _refuse("decay_steps", "must be 1 or more: schedule 'wsd' ends with a decay")
        if self.schedule == "wsd" and self.warmup_steps + self.decay_steps > self.steps:
            whole = f"{self.decay_steps} after {self.warmup_steps} of warm-up"
            _refuse("decay_steps", f"{whole} is longer than the run of {self.steps} steps")


def _refuse(field: str, reason: str) -> None:
    """Raises the UserError of a field; `build` adds the name of a nested part."""
    raise UserError(f"config.{field}: {reason}")


def _one_of(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        known = ", ".join(choice or "''" for choice in choices)
        _refuse(field, f"{value!r} is none of {known}{suggest(value, choices)}")


def _at_least(field: str, value: int, least: int) -> None:
    if value < least:
        _refuse(field, f"must be {least} or more, not {value}")


def _positive(field: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        _refuse(field, f"must be a positive number, not {value}")


def _not_negative(field: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        _refuse(field, f"must be 0 or more, not {value}")


def _between(field: str, value: float, low: float, high: float) -> None:
    """`low` is allowed, `high` isn't."""
    if not low <= value < high:
        _refuse(field, f"must be in [{low}, {high}), not {value}")
