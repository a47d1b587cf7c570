"""The configuration of a training run: data with a schema, every mistake named by its field."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from vcjax.core.errors import UserError
from vcjax.core.settings import build, check_at_least, check_choice
from vcjax.data.columns import check_columns
from vcjax.data.corpus.config import RawFiles
from vcjax.data.messages import TOOL_TURNS
from vcjax.model.attention.packed import BACKENDS
from vcjax.model.layers import POLICIES
from vcjax.model.lora import LoraConfig
from vcjax.train.settings import (
    GroupSettings,
    LoraSettings,
    MeshSettings,
    PreferenceSettings,
    ValidationSettings,
    check_between,
    check_not_negative,
    check_positive,
    refuse,
)

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
      warmup_steps: of linear growth, at the start.
      decay_steps: of the schedule `wsd`, at its end; 0 for the others.
      final_learning_rate_ratio: the last learning rate over that at the peak.
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
      sink: where metrics go beside the workdir, `wandb` or `trackio`; '' is nowhere.
      seed: of the order of the rows, of adapters and of dropout.
      on_bad_record: `error` or `quarantine`, where raw files are prepared.
      columns: names of columns in raw files for ours, `question:prompt,answer:response`; '' is
        none.
      tool_turns: `leave_out` or `train`; see `vcjax.data.messages.settle_tools`.
      require_domain: a record without a domain is a bad one, as it can't be held out.
      prepare: the steps that raw files pass, as in `configs/prepare.py`.
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
    prepare: RawFiles = dataclasses.field(default_factory=RawFiles)

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
        return {**dataclasses.asdict(self), "prepare": self.prepare.to_dict(self.charter)}

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
        check_choice("config.stage", self.stage, STAGES)
        check_choice("config.objective", self.objective, OBJECTIVES)
        check_choice("config.schedule", self.schedule, SCHEDULES)
        check_choice("config.optimizer", self.optimizer, OPTIMIZERS)
        check_choice("config.dtype", self.dtype, DTYPES)
        check_choice("config.attention", self.attention, BACKENDS)
        check_choice("config.remat", self.remat, tuple(POLICIES))
        check_choice("config.sink", self.sink, SINKS)
        check_choice("config.on_bad_record", self.on_bad_record, ("error", "quarantine"))
        check_choice("config.tool_turns", self.tool_turns, TOOL_TURNS)
        check_columns(self.columns)
        self._check_data()
        self.prepare.named_settings(self.charter, "config.prepare")
        # With every setting of its steps, given or not: two configs that do the same are equal.
        whole = RawFiles(**self.prepare.to_dict(self.charter))
        object.__setattr__(self, "prepare", whole)
        counts = ("steps", "batch_size", "microbatches", "checkpoint_every", "keep")
        check_at_least(self, {**dict.fromkeys(counts, 1), "length": 2})
        counts = ("warmup_steps", "decay_steps", "max_skipped", "keep_best", "seed")
        check_at_least(self, dict.fromkeys(counts, 0))
        for field in ("learning_rate", "replay_weight", "clip_norm"):
            check_positive(field, getattr(self, field))
        check_not_negative("weight_decay", self.weight_decay)
        check_between("b1", self.b1, 0, 1)
        check_between("b2", self.b2, 0, 1)
        if not 0 <= self.final_learning_rate_ratio <= 1:
            ratio = self.final_learning_rate_ratio
            refuse("final_learning_rate_ratio", f"must be in [0, 1], not {ratio}")
        self._check_schedule()
        if self.batch_size % self.microbatches:
            given = f"{self.batch_size} is no multiple of microbatches {self.microbatches}"
            refuse("batch_size", given)
        if self.keep_best and not (self.validation.every and self.validation.data.strip()):
            refuse("keep_best", "needs validation.data and validation.every")
        try:
            _ = self.adapters
        except UserError as error:
            raise UserError(f"config.{error}") from None

    def _check_data(self) -> None:
        if not self.model.strip():
            refuse("model", "is empty; name a model")
        if self.objective != "next_token" and self.stage != "adversarial":
            refuse("objective", f"{self.objective!r} is for the adversarial stage")
        what = f"stage {self.stage!r} trains on {self.kind}"
        if self.objective != "next_token":
            what = f"objective {self.objective!r} trains on {self.kind}"
        if not getattr(self, self.kind).strip():
            refuse(self.kind, f"is empty; {what}")
        for unused in KINDS:
            if unused != self.kind and getattr(self, unused).strip():
                refuse(unused, f"must be '': {what}; name them there, or in replay")

    def _check_schedule(self) -> None:
        if self.warmup_steps > self.steps:
            refuse("warmup_steps", f"{self.warmup_steps} is longer than the run of {self.steps}")
        if self.decay_steps and self.schedule != "wsd":
            refuse("decay_steps", f"must be 0: schedule {self.schedule!r} has no such phase")
        if self.schedule == "wsd" and not self.decay_steps:
            refuse("decay_steps", "must be 1 or more: schedule 'wsd' ends with a decay")
        if self.schedule == "wsd" and self.warmup_steps + self.decay_steps > self.steps:
            whole = f"{self.decay_steps} after {self.warmup_steps} of warm-up"
            refuse("decay_steps", f"{whole} is longer than the run of {self.steps} steps")
