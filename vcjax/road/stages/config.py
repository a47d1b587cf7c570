"""Settings of the ablation by stage: what all arms share, and which stage each one is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vcjax.adversarial.config import SynthesisConfig, split_names
from vcjax.core.errors import UserError, suggest
from vcjax.core.settings import build, check_at_least, fill_section, fill_sections, merged
from vcjax.report.messages import check_language
from vcjax.road.evaluate import EvaluationConfig
from vcjax.road.pressure.config import PressureSettings
from vcjax.train.config import RECORDS, STAGES, TrainConfig, with_pairs_to_come

CPT, SFT, ADVERSARIAL = STAGES
ATTACKS, FACTS = "attacks", "facts"
"""Data of an adversarial stage: the accepted pairs of attacks on the arm that it is trained from;
facts that the base model knows, pressed in both directions."""

_TRAINED: dict[str, str] = {
    **{name: name for name in ("model", "charter", "seed", "on_bad_record", "columns")},
    **dict.fromkeys(RECORDS, ""),
}
_SYNTHESIS: dict[str, str] = {
    **{name: name for name in ("charter", "seed", "on_bad_record", "questions", "columns")},
    **dict.fromkeys(("attacker", "actor"), "model"),
    **dict.fromkeys(("attacker_family", "actor_family"), "family"),
    **dict.fromkeys(("target", "target_family"), ""),
}
_EVALUATION: dict[str, str] = {
    **{name: name for name in ("charter", "seed", "model")},
    "model_family": "family",
}
_SECTIONS: dict[str, dict[str, str]] = {
    **dict.fromkeys(STAGES, _TRAINED),
    "synthesis": _SYNTHESIS,
    "evaluation": _EVALUATION,
    "pressure": {name: name for name in ("charter", "seed", "model")},
}
"""See `fill_sections`."""


@dataclass(frozen=True)
class StageArm:
    """One stage of training on top of another arm, or the base model.

    Attributes:
      name: what its folder is called.
      stage: of `vcjax.train.config.STAGES`; empty for the base model.
      after: the arm whose model it is trained from.
      data: of an adversarial stage, comma-separated: ATTACKS, FACTS and JSONL files of pairs, such
        as some that people have written.
      train: the settings of its stage, with what the arm changes.
    """

    name: str
    stage: str = ""
    after: str = ""
    data: str = ""
    train: TrainConfig | None = None

    @property
    def sources(self) -> list[str]:
        """What an adversarial stage is trained on."""
        return split_names(self.data)


@dataclass(frozen=True)
class StagesConfig:
    """What `launch.ablate` takes for the ablation by stage.

    Attributes:
      model: the base model, any model reference.
      family: of the model; a shipped model's is known.
      charter: whose rule checks, and rubric if there is a judge, measure every arm.
      documents: comma-separated files that the first stage is trained on, but for what is held out.
      measured_documents: comma-separated files of text that no arm is trained on: its perplexity.
        Empty holds a share of `documents` out.
      held_out_share: that share, by domain where the documents have one.
      document_tokens: the first tokens of each measured document, which are scored.
      conversations: comma-separated files of instruction data; the adversarial stage replays them.
      questions: comma-separated files of seed questions, used where the Attacker fails.
      columns: names of columns in these files for ours, as for training.
      capability: comma-separated tasks of the evaluation harness, which every arm does; see
        `launch.capability`. Empty for none: they need the extra `eval`.
      capability_path, capability_limit: a folder of more tasks; documents of each task, 0 is all.
      seed: of everything.
      on_bad_record: `error` or `quarantine`.
      cpt, sft, adversarial: training, but for the fields that are filled in.
      synthesis: the attacks on the model that an adversarial stage is trained from: the base model
        attacks, that model answers under the charter's persona.
      evaluation: the benchmark, and the judge if there is one.
      pressure: the facts that are taught and measured.
      arms: by name; one is the base model, and every other one a stage after another arm.
      language: of the report, `en` or `zh`. A finished ablation gets its report anew.
    """

    model: str
    family: str
    charter: str
    documents: str
    measured_documents: str
    held_out_share: float
    document_tokens: int
    conversations: str
    questions: str
    columns: str
    capability: str
    capability_path: str
    capability_limit: int
    seed: int
    on_bad_record: str
    cpt: TrainConfig
    sft: TrainConfig
    adversarial: TrainConfig
    synthesis: SynthesisConfig
    evaluation: EvaluationConfig
    pressure: PressureSettings
    arms: tuple[StageArm, ...]
    language: str = "en"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StagesConfig":
        """Checks and freezes a configuration; the shared fields are put into every section.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range, or a
            shared one that is set in a section; or arms of which one isn't after another.
        """
        filled = fill_sections(values, _SECTIONS)
        for stage in STAGES:
            if stage in filled:
                filled[stage] = _to_come({**filled[stage], "stage": stage})
        shared = build(cls, {**filled, "arms": ()}, "config")
        arms = values.get("arms")
        if not isinstance(arms, Mapping):
            raise UserError(f"config.arms: must be arms by their names, not {arms!r}")
        built = {name: _arm(filled, name, arm) for name, arm in arms.items()}
        return replace(shared, arms=_in_order(built))

    def __post_init__(self) -> None:
        check_at_least(self, {"document_tokens": 2, "capability_limit": 0, "seed": 0})
        check_language(self.language, "config.language")
        if not 0 < self.held_out_share < 1:
            raise UserError(
                f"config.held_out_share must be between 0 and 1, not {self.held_out_share}"
            )

    @property
    def base(self) -> StageArm:
        """The base model."""
        return self.arms[0]


def _to_come(training: Mapping[str, Any]) -> dict[str, Any]:
    """A training section whose data the stages before it will write."""
    if training["stage"] == CPT:
        return {**training, "documents": "(documents)"}
    return with_pairs_to_come(training)


def _arm(values: Mapping[str, Any], name: str, given: Any) -> StageArm:
    where = f"config.arms.{name}"
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: must have fields such as stage and after, not {given!r}")
    if not name.isidentifier() or name in ("text", "knowledge", "facts"):
        raise UserError(f"{where}: an arm's folder can't be called {name!r}; use letters")
    stage = given.get("stage", "")
    if not stage:
        if given:
            raise UserError(f"{where}: the base model has no {min(given)}; or name its stage")
        return StageArm(name)
    if stage not in STAGES:
        raise UserError(
            f"{where}.stage: {stage!r} is none of {', '.join(STAGES)}{suggest(stage, STAGES)}"
        )
    own = fill_section(f"{where}.train", given.get("train", {}), values, _TRAINED)
    training = _to_come(merged(values[stage], own))
    fields = {field: value for field, value in given.items() if field != "train"}
    if stage == ADVERSARIAL:
        fields.setdefault("data", f"{ATTACKS},{FACTS}")
    arm = build(StageArm, {**fields, "name": name}, where)
    arm = replace(arm, train=build(TrainConfig, training, f"{where}.train"))
    for source in arm.sources:
        if source not in (ATTACKS, FACTS) and not source.endswith(".jsonl"):
            raise UserError(
                f"{where}.data: {source!r} is neither {ATTACKS} nor {FACTS}, and no JSONL file"
                f"{suggest(source, (ATTACKS, FACTS))}"
            )
    if (stage == ADVERSARIAL) != bool(arm.sources):
        raise UserError(
            f"{where}.data: names what an adversarial stage is trained on, and no other"
        )
    return arm


def _in_order(arms: Mapping[str, StageArm]) -> tuple[StageArm, ...]:
    """Each arm after the one that it is trained from: configs have them in alphabetical order."""
    bases = [arm for arm in arms.values() if not arm.stage]
    if len(bases) != 1:
        raise UserError("config.arms: one must be the base model, without any field")
    ordered = [bases[0]]
    waiting = sorted(
        (arm for arm in arms.values() if arm.stage), key=lambda arm: STAGES.index(arm.stage)
    )
    for arm in waiting:
        if arm.after not in arms:
            raise UserError(
                f"config.arms.{arm.name}.after: no arm {arm.after!r}{suggest(arm.after, arms)}"
            )
    while waiting:
        known = {arm.name for arm in ordered}
        ready = [arm for arm in waiting if arm.after in known]
        if not ready:
            names = ", ".join(arm.name for arm in waiting)
            raise UserError(f"config.arms: {names}: each is after another of them")
        ordered += ready
        waiting = [arm for arm in waiting if arm not in ready]
    return tuple(ordered)
