"""The configuration of a training run: data with a schema, every mistake named by its field."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from vcjax.foundation.errors import UserError, suggest
from vcjax.foundation.settings import build
from vcjax.model.lora import LoraConfig

STAGES = {"cpt": "documents", "sft": "conversations", "adversarial": "conversations"}
"""Stage -> the field that names its data."""
DTYPES = ("float32", "bfloat16")
ON_BAD_RECORD = ("error", "quarantine")


@dataclass(frozen=True)
class LoraSettings:
    """`rank` 0 is full fine-tuning; `targets` is a pattern over the names of the projections."""

    rank: int
    alpha: float
    targets: str


@dataclass(frozen=True)
class MeshSettings:
    """Sizes of the mesh axes; one may be -1: whatever is left of the devices."""

    data: int
    fsdp: int
    tensor: int


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run; with the content of the inputs, its identity.

    Attributes:
      stage: a key of STAGES.
      model: a model reference.
      documents, conversations: data of the stage, prepared folders or raw files, comma-separated;
        the one that the stage doesn't train on is ''.
      replay: more data of the same kind, or prepared folders of any kind; '' is none.
      replay_weight: rows drawn from `replay` for each row of the stage's own data.
      charter: name or file of the charter that the data was made for, recorded in the lineage.
      steps: optimiser steps.
      batch_size: rows a step.
      microbatches: parts in which a step's rows are computed, one after the other.
      length: tokens a row.
      learning_rate: at its peak, after `warmup_steps` steps of linear growth; from there a cosine
        falls to `learning_rate * final_learning_rate_ratio` at the last step.
      weight_decay: of matrices (AdamW); norms, biases and adapters have none.
      b1, b2: decay rates of Adam's moments.
      clip_norm: largest global norm of a gradient.
      dtype: of the computation; parameters and moments are float32 always.
      remat: recompute layers in the backward pass instead of storing their insides.
      checkpoint_every: steps between checkpoints; the last step has one too.
      keep: checkpoints kept.
      on_bad_record: `error` or `quarantine`, where raw files are prepared.
    """

    stage: str
    model: str
    documents: str
    conversations: str
    replay: str
    replay_weight: float
    charter: str
    steps: int
    batch_size: int
    microbatches: int
    length: int
    learning_rate: float
    warmup_steps: int
    final_learning_rate_ratio: float
    weight_decay: float
    b1: float
    b2: float
    clip_norm: float
    dtype: str
    remat: bool
    lora: LoraSettings
    mesh: MeshSettings
    checkpoint_every: int
    keep: int
    seed: int
    on_bad_record: str

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
        """Kind of the stage's records, which is the name of the field with their files."""
        return STAGES[self.stage]

    @property
    def adapters(self) -> LoraConfig | None:
        """The adapters to train, or None for full fine-tuning."""
        if not self.lora.rank:
            return None
        return LoraConfig(self.lora.rank, self.lora.alpha, self.lora.targets)

    def __post_init__(self) -> None:
        for field, choices in (
            ("stage", STAGES),
            ("dtype", DTYPES),
            ("on_bad_record", ON_BAD_RECORD),
        ):
            value = getattr(self, field)
            if value not in choices:
                _refuse(
                    field, f"{value!r} is none of {', '.join(choices)}{suggest(value, choices)}"
                )
        if not self.model.strip():
            _refuse("model", "is empty; name a model")
        unused = ({"documents", "conversations"} - {self.kind}).pop()
        if not getattr(self, self.kind).strip():
            _refuse(self.kind, f"is empty; stage {self.stage!r} trains on {self.kind}")
        if getattr(self, unused).strip():
            hint = f"stage {self.stage!r} trains on {self.kind}; name them there, or in replay"
            _refuse(unused, f"must be '': {hint}")
        for field in ("steps", "batch_size", "microbatches", "checkpoint_every", "keep"):
            _at_least(field, getattr(self, field), 1)
        _at_least("length", self.length, 2)
        for field in ("warmup_steps", "seed"):
            _at_least(field, getattr(self, field), 0)
        _at_least("lora.rank", self.lora.rank, 0)
        for field in ("learning_rate", "replay_weight", "clip_norm"):
            _positive(field, getattr(self, field))
        _positive("lora.alpha", self.lora.alpha)
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            _refuse("weight_decay", f"must be 0 or more, not {self.weight_decay}")
        for field in ("b1", "b2"):
            if not 0 <= getattr(self, field) < 1:
                _refuse(field, f"must be in [0, 1), not {getattr(self, field)}")
        if not 0 <= self.final_learning_rate_ratio <= 1:
            ratio = self.final_learning_rate_ratio
            _refuse("final_learning_rate_ratio", f"must be in [0, 1], not {ratio}")
        if self.batch_size % self.microbatches:
            given = f"{self.batch_size} is no multiple of microbatches {self.microbatches}"
            _refuse("batch_size", given)
        try:
            _ = self.adapters
        except UserError as error:
            raise UserError(f"config.{error}") from None


def _refuse(field: str, reason: str) -> None:
    raise UserError(f"config.{field}: {reason}")


def _at_least(field: str, value: int, least: int) -> None:
    if value < least:
        _refuse(field, f"must be {least} or more, not {value}")


def _positive(field: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        _refuse(field, f"must be a positive number, not {value}")
