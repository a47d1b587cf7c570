"""Settings of an ablation: what all arms share, and what each has otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from vcjax.adversarial.config import SynthesisConfig
from vcjax.core.errors import UserError, suggest
from vcjax.core.settings import build, check_at_least, fill_section, fill_sections, merged
from vcjax.generate.engine_config import EngineConfig
from vcjax.report.messages import check_language
from vcjax.text.language import Language
from vcjax.train.config import RECORDS, TrainConfig, with_pairs_to_come

NONE, ATTACKS, QUESTIONS = "none", "attacks", "questions"
ANSWERS, CONVERSATIONS = "answers", "conversations"
DATA = (NONE, ATTACKS, QUESTIONS, ANSWERS, CONVERSATIONS)
"""What an arm trains on: nothing; pairs of its own attacks; pairs that are selected likewise from
its answers to plain questions; its answers to queries of another arm's attacks, with no selection
of queries or answers; ordinary conversations."""
_LIKE = (QUESTIONS, ANSWERS, CONVERSATIONS)
"""What an arm trains on that has as many pairs as another arm's attacks."""

_SYNTHESIS: dict[str, str] = {
    "charter": "charter",
    "languages": "language",
    "attacks": "attacks",
    "held_out_attacks": "held_out_attacks",
    "on_bad_record": "on_bad_record",
    **{field.name: field.name for field in fields(EngineConfig)},
    "seed": "seed",
    "questions": "questions",
    "benchmark": "",
    **{name: name for name in ("attacker", "actor", "attacker_family", "actor_family")},
    "target": "model",
    "target_family": "family",
}
_TRAINED: dict[str, str] = {
    **{name: name for name in ("model", "charter", "seed", "on_bad_record")},
    **dict.fromkeys(RECORDS, ""),
}


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
      name: what its folder is called.
      data: one of DATA.
      like: of `questions`, `answers` and `conversations`, the arm whose number of pairs it has; of
        `answers` also the one whose queries it answers.
      after: the arm whose last checkpoint it begins with; empty is the base model.
      conversations: files that replace the ablation's.
      rounds: of data and training; 0 is the ablation's number.
      persona: whether it is measured with the charter's persona as system message.
      synthesis, train: the ablation's, with what the arm changes.
    """

    name: str
    synthesis: SynthesisConfig
    train: TrainConfig
    data: str = ATTACKS
    like: str = ""
    after: str = ""
    conversations: str = ""
    rounds: int = 0
    persona: bool = False

    @property
    def trains(self) -> bool:
        return self.data != NONE


@dataclass(frozen=True, kw_only=True)
class AblationConfig(EngineConfig):
    """What `launch.ablate` takes as `--config.<field>`, beside the fields of `EngineConfig`.

    Attributes:
      model: the base model, any model reference.
      family: of the model; a shipped model's is known.
      attacker: who writes queries, as for `launch.synthesize`; empty is the base model.
      actor: who answers them to be learned from; empty is the model that a round begins with.
      attacker_family, actor_family: of these, where they are named.
      charter: name or file; its rules alone decide what an attack's success is.
      language: of queries and answers.
      report_language: of the report, `en` or `zh`. A finished ablation gets its report anew.
      attacks: comma-separated; empty is all but the held-out ones.
      held_out_attacks: comma-separated, of kind `single`; no arm is trained on them.
      held_out_queries: that are measured with, for each held-out attack and held-out subdomain.
      trained_queries: likewise for each attack and subdomain that arms are trained on.
      clean_queries: plain questions, without any attack, for each held-out subdomain: a habit that
        doesn't depend on attacks shows in them.
      questions: comma-separated files of seed questions, used where the Attacker fails;
        they are never measured with.
      conversations: comma-separated files of ordinary instruction data.
      documents: comma-separated files of text that is only measured on: its perplexity. What an
        arm was trained on is left out.
      document_tokens: the first tokens of each document, which are scored.
      answer_tokens: bound of an answer that is measured.
      samples: queries of which the report shows the answers of every arm.
      rounds: of data and training; the second round attacks what the first one has trained.
      seeds: whole runs of each arm, attacks and training included; more may be added later.
      seed: of everything; run n of an arm has `seed + n`.
      on_bad_record: `error` or `quarantine`.
      synthesis, train: of every arm, but for the fields that the ablation fills in.
      arms: by name; one trains on nothing and has no persona, and is what the others are compared
        with.
    """

    model: str
    family: str
    attacker: str
    attacker_family: str
    actor: str
    actor_family: str
    charter: str
    language: str
    attacks: str
    held_out_attacks: str
    held_out_queries: int
    trained_queries: int
    clean_queries: int
    questions: str
    conversations: str
    documents: str
    document_tokens: int
    answer_tokens: int
    samples: int
    rounds: int
    seeds: int
    seed: int
    on_bad_record: str
    synthesis: SynthesisConfig
    train: TrainConfig
    arms: tuple[Arm, ...]
    dtype: str = "float32"
    report_language: str = "en"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AblationConfig":
        """Checks and freezes a configuration; shared fields are put into every section and arm.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range, or
            one that is set in a section though it is filled in.
        """
        sections = {"synthesis": {}, "train": {}}
        filled = fill_sections({**sections, **values}, {"synthesis": _SYNTHESIS, "train": _TRAINED})
        filled["train"] = with_pairs_to_come(filled["train"])
        shared = build(cls, {**filled, "arms": ()}, "config")
        arms = values.get("arms")
        if not isinstance(arms, Mapping):
            raise UserError(f"config.arms: must be arms by their names, not {arms!r}")
        built = [_arm(filled, name, arm) for name, arm in arms.items()]
        return replace(shared, arms=_ordered(built))

    @property
    def base(self) -> Arm:
        """The arm without training and persona, which the others are compared with."""
        return next(arm for arm in self.arms if _is_base(arm))

    @property
    def lang(self) -> Language:
        """The language, which the charter's is checked to be."""
        return cast(Language, self.language)

    def rounds_of(self, arm: Arm) -> int:
        return (arm.rounds or self.rounds) if arm.trains else 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_language(self.report_language, "config.report_language")
        low = {"document_tokens": 2, "samples": 0, "seed": 0}
        queries = ("held_out_queries", "trained_queries", "clean_queries")
        counts = (*queries, "answer_tokens", "rounds", "seeds")
        check_at_least(self, {**dict.fromkeys(counts, 1), **low})
        for name in ("held_out_attacks", "conversations", "documents"):
            if not getattr(self, name).strip():
                raise UserError(f"config.{name} is empty; name at least one")


def _arm(values: Mapping[str, Any], name: str, given: Any) -> Arm:
    where = f"arms.{name}"
    if not isinstance(given, Mapping):
        raise UserError(f"config.{where}: must have fields such as data and like, not {given!r}")
    if not name.isidentifier() or name == "queries":
        raise UserError(f"config.{where}: an arm's folder can't be called {name!r}; use letters")
    synthesis, training = (
        fill_section(f"config.{where}.{section}", given.get(section, {}), values, sources)
        for section, sources in (("synthesis", _SYNTHESIS), ("train", _TRAINED))
    )
    sections = {
        "synthesis": merged(values["synthesis"], synthesis),
        "train": with_pairs_to_come(merged(values["train"], training)),
    }
    arm = build(Arm, {**given, **sections, "name": name}, f"config.{where}")
    if arm.data not in DATA:
        hint = suggest(arm.data, DATA)
        raise UserError(f"config.{where}.data: {arm.data!r} is none of {', '.join(DATA)}{hint}")
    if arm.train.kind == "documents":
        raise UserError(f"config.{where}.train.stage: pairs are no documents; name sft")
    if arm.data in _LIKE and arm.train.kind != "conversations":
        raise UserError(f"config.{where}.train.objective: {arm.data} have no rejected side")
    return arm


def _ordered(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """The base model first, then what is untrained beside it, and each arm after those that it
    names.

    Raises:
      UserError: an arm names one that isn't there or doesn't fit, or they name each other.
    """
    known = {arm.name: arm for arm in arms}
    if sum(map(_is_base, arms)) != 1:
        raise UserError(
            f"config.arms: one must have data={NONE} and no persona, to compare the others with"
        )
    for arm in arms:
        where = f"config.arms.{arm.name}"
        if (arm.data in _LIKE) != bool(arm.like):
            needs = "leave it out" if arm.like else "name the arm whose number of pairs it has"
            raise UserError(f"{where}.like: data is {arm.data!r}; {needs}")
        for field in ("like", "after"):
            other = getattr(arm, field)
            if other and (other not in known or not known[other].trains):
                hint = suggest(other, known)
                raise UserError(f"{where}.{field}: {other!r} is no arm that trains{hint}")
        if arm.conversations and arm.data != CONVERSATIONS:
            raise UserError(f"{where}.conversations: data is {arm.data!r}; leave it out")
        if arm.like and known[arm.like].data != ATTACKS:
            raise UserError(f"{where}.like: {arm.like!r} makes no attacks")
    # True sorts behind False, so that reversed the base comes first.
    untrained = sorted((arm for arm in arms if not arm.trains), key=_is_base, reverse=True)
    ordered: dict[str, Arm] = {arm.name: arm for arm in untrained}
    waiting = [arm for arm in arms if arm.trains]
    while waiting:
        # In layers and not one by one: the order within a layer stays that of the config, and with
        # it the order of the stages.
        ready = [arm for arm in waiting if {arm.like, arm.after} - {""} <= ordered.keys()]
        if not ready:
            raise UserError(f"config.arms.{waiting[0].name}: arms wait for each other")
        ordered |= {arm.name: arm for arm in ready}
        waiting = [arm for arm in waiting if arm.name not in ordered]
    return tuple(ordered.values())


def _is_base(arm: Arm) -> bool:
    return not arm.trains and not arm.persona
