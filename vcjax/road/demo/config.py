"""What the demo takes as its config; what its stages share is stated once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.run import EXTENDABLE as SYNTHESIS_EXTENDABLE
from vcjax.core.settings import build, fill_sections
from vcjax.report.messages import check_language
from vcjax.road.evaluate import EvaluationConfig
from vcjax.road.pressure.config import PressureSettings
from vcjax.train.config import RECORDS, TrainConfig
from vcjax.train.loop import EXTENDABLE as TRAIN_EXTENDABLE

TRAINED = ("cpt", "sft", "adversarial")
EXTENDABLE = (
    *(f"{stage}.{name}" for stage in TRAINED for name in TRAIN_EXTENDABLE),
    *(f"synthesis.{name}" for name in SYNTHESIS_EXTENDABLE),
)

_TRAINING = {
    **{name: name for name in ("model", "charter", "seed", "on_bad_record", "columns")},
    **dict.fromkeys(RECORDS, ""),
}
_ROLES = ("attacker", "actor", "critic")
_FILLED: dict[str, dict[str, str]] = {
    "cpt": {**_TRAINING, "documents": "documents"},
    "sft": {**_TRAINING, "conversations": "conversations"},
    "adversarial": {
        **_TRAINING,
        "conversations": "conversations",
        "replay": "conversations",
    },
    "synthesis": {
        **{name: name for name in ("charter", "seed", "on_bad_record", "questions", "columns")},
        **dict.fromkeys(_ROLES, "model"),
        **dict.fromkeys((f"{role}_family" for role in _ROLES), "family"),
    },
    "pressure": {name: name for name in ("charter", "seed", "model")},
    "evaluation": {
        **{name: name for name in ("charter", "seed", "model")},
        "judge": "model",
        **dict.fromkeys(("model_family", "judge_family"), "family"),
    },
}
"""See `fill_sections`."""


@dataclass(frozen=True)
class DemoConfig:
    """What `launch.demo` takes as `--config.<field>`.

    Attributes:
      model: the base model, any model reference; it attacks, answers and judges too.
      family: of the model; a shipped model's is known.
      charter: name or file.
      documents, conversations, questions: comma-separated files.
      seed: of everything.
      on_bad_record: `error` or `quarantine`.
      columns: names of columns in these files for ours, as for training.
      cpt, sft, adversarial: training, but for the fields above, which are filled in.
      synthesis, evaluation: likewise.
      pressure: the facts that are taught in the adversarial stage, and measured before and after.
      language: of the report, `en` or `zh`. A finished demo gets its report anew.
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
    evaluation: EvaluationConfig
    pressure: PressureSettings
    columns: str = ""
    language: str = "en"

    def __post_init__(self) -> None:
        check_language(self.language, "config.language")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DemoConfig":
        """Checks and freezes a configuration; the shared fields are put into every section.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range, or a
            shared one that is set in a section.
        """
        return build(cls, fill_sections(values, _FILLED), "config")
