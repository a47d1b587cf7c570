"""Settings of the closed loop."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.config import SynthesisConfig
from vcjax.core.errors import UserError
from vcjax.core.settings import build
from vcjax.train.config import TrainConfig, kind_of

_SHARED = {"charter": "charter", "seed": "seed", "on_bad_record": "on_bad_record"}
_SYNTHESIS = {
    **_SHARED,
    **{name: name for name in ("attacker", "actor", "attacker_family", "actor_family")},
    **{"target": "model", "target_family": "family"},
}
_TRAIN = {**_SHARED, "model": "model"}
_RECORDS = ("documents", "conversations", "preferences")


@dataclass(frozen=True)
class RoundsConfig:
    """What `launch.synthesize` takes as `--config.<field>` for rounds of attack and training.

    Attributes:
      model: the checkpoint that is attacked first, any model reference.
      family: of the model; a shipped model's is known.
      attacker: who writes queries, as for one run; empty is `model`, the same in every round.
      actor: who answers them to be learned from; empty is the checkpoint that is attacked.
      attacker_family, actor_family: of these, where they are named.
      charter: name or file.
      rounds: of attack, training and measuring.
      floor: attempts that every cell gets in each round, whatever is known of it.
      discount: what the outcomes of a round count for a round later, 0 to 1.
      measured: attempts on every held-out cell before the first round and after each.
      seed: of everything.
      on_bad_record: `error` or `quarantine`.
      synthesis: of each round; its `attempts` are shared out among the cells.
      train: of each round, on what the round has made; pairs of earlier rounds and
        `train.replay` are replayed.
    """

    model: str
    family: str
    attacker: str
    attacker_family: str
    actor: str
    actor_family: str
    charter: str
    rounds: int
    floor: int
    discount: float
    measured: int
    seed: int
    on_bad_record: str
    synthesis: SynthesisConfig
    train: TrainConfig

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RoundsConfig":
        """Checks and freezes a configuration; the shared fields are put into both sections.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range, or a
            shared one that is set in a section.
        """
        filled = dict(values)
        for section, shared in (("synthesis", _SYNTHESIS), ("train", _TRAIN)):
            given = values.get(section)
            if not isinstance(given, Mapping):
                continue  # `build` says what is wrong
            for field, source in shared.items():
                if field in given:
                    raise UserError(
                        f"config.{section}.{field}: the rounds fill this in; set config.{source}"
                    )
            filled[section] = {**given, **{f: values.get(s, "") for f, s in shared.items()}}
        train = filled.get("train")
        if isinstance(train, dict):
            kind = kind_of(train.get("stage", ""), train.get("objective", ""))
            # Stands for the pairs that each round makes.
            filled["train"] = {**train, **dict.fromkeys(_RECORDS, ""), kind: "(pairs)"}
        return build(cls, filled, "config")

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("floor", 0), ("measured", 1)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise UserError(f"config.{name} must be at least {least}, not {value}")
        if not 0 <= self.discount <= 1:
            raise UserError(f"config.discount must be 0 to 1, not {self.discount}")
        if self.synthesis.per_cell:
            raise UserError(
                "config.synthesis.per_cell: the attempts of a round go where attacks succeed, not "
                "where pairs are missing; set it to 0"
            )
