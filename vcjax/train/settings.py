"""The sections of a training config: adapters, mesh, groups of parameters, pairs, validation."""

import math
import re
from dataclasses import dataclass

from vcjax.core.errors import UserError
from vcjax.core.settings import check_at_least, check_choice


@dataclass(frozen=True)
class LoraSettings:
    """Adapters, and the weights under them.

    Attributes:
      rank: of the adapters; 0 is full fine-tuning.
      alpha: the adapters' output is scaled by alpha / rank.
      targets: a pattern over the names of the projections.
      dropout: the share of an adapter's inputs that is left out in training.
      base: the form of the frozen weights: '' (the compute dtype), `int8` or `nf4` (QLoRA, arXiv
        2305.14314).
    """

    rank: int
    alpha: float
    targets: str
    dropout: float
    base: str

    def __post_init__(self) -> None:
        check_at_least(self, {"rank": 0})
        check_positive("alpha", self.alpha)
        check_between("dropout", self.dropout, 0, 1)
        check_choice("config.base", self.base, ("", "int8", "nf4"))
        if self.base and not self.rank:
            refuse("base", f"{self.base!r} weights can't be trained; set lora.rank above 0")


@dataclass(frozen=True)
class MeshSettings:
    """Sizes of the mesh axes; one may be -1: whatever is left of the devices.

    Attributes:
      data: copies of the model, each with its share of the rows.
      fsdp: devices that share the parameters, each with its share of the rows.
      tensor: devices that share every matmul.
      sequence: devices that share each row.
    """

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
            refuse("pattern", f"{self.pattern!r} is not a pattern: {error}")
        for field in ("learning_rate", "weight_decay"):
            check_not_negative(field, getattr(self, field))


@dataclass(frozen=True)
class PreferenceSettings:
    """Of the objectives on preferences.

    Attributes:
      beta: of DPO (arXiv 2305.18290).
      odds_weight: the lambda of ORPO (arXiv 2403.07691).
    """

    beta: float
    odds_weight: float

    def __post_init__(self) -> None:
        check_positive("beta", self.beta)
        check_positive("odds_weight", self.odds_weight)


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
            refuse("similarity", f"must be in [0.7, 1], not {self.similarity}")
        check_at_least(self, {"every": 0, "batches": 1, "patience": 0, "max_tokens": 1})
        if self.every and not (self.data.strip() or self.prompts.strip()):
            refuse("every", "has nothing to measure; name validation.data or .prompts")
        for field in ("data", "prompts"):
            if getattr(self, field).strip() and not self.every:
                refuse(field, "is never measured where validation.every is 0, as by default")
        if self.patience and not (self.every and self.data.strip()):
            refuse("patience", "needs validation.data and validation.every")


def refuse(field: str, reason: str) -> None:
    """Raises the UserError of a field; `build` adds the name of a nested part."""
    raise UserError(f"config.{field}: {reason}")


def check_positive(field: str, value: float) -> None:
    """Raises UserError unless the value is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        refuse(field, f"must be a positive number, not {value}")


def check_not_negative(field: str, value: float) -> None:
    """Raises UserError unless the value is finite and at least 0."""
    if not (math.isfinite(value) and value >= 0):
        refuse(field, f"must be at least 0, not {value}")


def check_between(field: str, value: float, low: float, high: float) -> None:
    """Raises UserError unless the value is at least `low` and below `high`."""
    if not low <= value < high:
        refuse(field, f"must be in [{low}, {high}), not {value}")
