"""Settings of the whole road."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.config import SynthesisConfig
from vcjax.core.errors import UserError
from vcjax.core.settings import build
from vcjax.road.measure import MeasureConfig
from vcjax.train.config import TrainConfig

_TRAINING = {name: name for name in ("model", "charter", "seed", "on_bad_record", "columns")}
_UNUSED = dict.fromkeys(("documents", "conversations", "preferences", "replay"), "")
_ROLES = ("attacker", "actor", "critic")
_SHARED: dict[str, dict[str, str]] = {
    "cpt": {**_TRAINING, **_UNUSED, "documents": "documents"},
    "sft": {**_TRAINING, **_UNUSED, "conversations": "conversations"},
    "adversarial": {
        **_TRAINING,
        **_UNUSED,
        "conversations": "conversations",
        "replay": "conversations",
    },
    "synthesis": {
        **{name: name for name in ("charter", "seed", "on_bad_record", "questions", "columns")},
        **dict.fromkeys(_ROLES, "model"),
        **dict.fromkeys((f"{role}_family" for role in _ROLES), "family"),
    },
    "evaluation": {
        **{name: name for name in ("charter", "seed", "model")},
        "judge": "model",
        **dict.fromkeys(("model_family", "judge_family"), "family"),
    },
}
"""Section -> its field -> the road's own field that fills it; '' fills it with nothing."""


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
      columns: names of columns in these files for ours, as for training.
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
    columns: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RoadConfig":
        """Checks and freezes a configuration; the shared fields are put into every section.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range, or a
            shared one that is set in a section.
        """
        filled = dict(values)
        for section, shared in _SHARED.items():
            given = values.get(section)
            if not isinstance(given, Mapping):
                continue  # `build` says what is wrong
            for field, source in shared.items():
                if field in given:
                    mend = f"set config.{source}" if source else "leave it out"
                    raise UserError(f"config.{section}.{field}: the road fills this in; {mend}")
            filled[section] = {
                **given,
                **{field: values.get(source, "") for field, source in shared.items()},
            }
        return build(cls, filled, "config")
