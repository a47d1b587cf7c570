"""Settings of the whole road."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.config import SynthesisConfig
from vcjax.foundation.settings import build
from vcjax.road.measure import MeasureConfig
from vcjax.train.config import TrainConfig


@dataclass(frozen=True)
class RoadConfig:
    """What `launch.demo` takes as `--config.<field>`.

    Attributes:
      model: the base model, any model reference; it attacks, answers and judges too.
      family: of the model; a shipped model's is known.
      charter: name or file.
      documents, conversations, questions: comma-separated files.
      seed: of everything.
      on_bad_record: `error` or `quarantine`.
      cpt, sft, adversarial: training, but for the fields above, which the road fills in.
      synthesis, evaluation: likewise.
    """

    model: str
    family: str
    charter: str
    documents: str
    conversations: str
    questions: str
    seed: int
    on_bad_record: str
    cpt: TrainConfig
    sft: TrainConfig
    adversarial: TrainConfig
    synthesis: SynthesisConfig
    evaluation: MeasureConfig

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RoadConfig":
        """Checks and freezes a configuration; the shared fields are put into every stage.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range.
        """
        filled = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        }
        shared = {name: filled.get(name) for name in ("charter", "seed", "on_bad_record")}
        for stage, kind in (
            ("cpt", "documents"),
            ("sft", "conversations"),
            ("adversarial", "conversations"),
        ):
            if isinstance(filled.get(stage), dict):
                filled[stage] |= {**shared, "model": filled.get("model"), kind: filled.get(kind)}
        if isinstance(filled.get("adversarial"), dict):
            filled["adversarial"]["replay"] = filled.get("conversations")
        roles = ("attacker", "actor", "critic")
        if isinstance(filled.get("synthesis"), dict):
            filled["synthesis"] |= {**shared, "questions": filled.get("questions")}
            filled["synthesis"] |= {role: filled.get("model") for role in roles}
            filled["synthesis"] |= {f"{role}_family": filled.get("family") for role in roles}
        if isinstance(filled.get("evaluation"), dict):
            filled["evaluation"] |= {"charter": filled.get("charter"), "seed": filled.get("seed")}
            filled["evaluation"] |= {role: filled.get("model") for role in ("model", "judge")}
            names = ("model_family", "judge_family")
            filled["evaluation"] |= dict.fromkeys(names, filled.get("family"))
        return build(cls, filled, "config")
