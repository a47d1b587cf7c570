"""Settings of the pressure experiment: what all arms share, and what each has otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from vcjax.adversarial.config import split_names
from vcjax.adversarial.pressure.pairs import DATA
from vcjax.adversarial.pressure.rates import RATES
from vcjax.adversarial.pressure.split import DEV, TEST
from vcjax.core.defaults import demo_data
from vcjax.core.errors import UserError, suggest
from vcjax.core.settings import build, check_at_least, fill_section, fill_sections, merged
from vcjax.generate.engine_config import EngineConfig
from vcjax.report.messages import check_language
from vcjax.text.language import Language
from vcjax.train.config import RECORDS, TrainConfig, with_pairs_to_come

NONE = "none"
PREFERENCES, CONVERSATIONS = "preferences", "conversations"
_TRAINED: dict[str, str] = {
    **{name: name for name in ("model", "seed", "on_bad_record")},
    # No charter: the experiment holds out topics of facts, not a charter's domains.
    **dict.fromkeys((*RECORDS, "charter"), ""),
}


@dataclass(frozen=True)
class HalfLifeSettings:
    """How every arm that trains is trained further; see `vcjax.road.pressure.half_life`.

    Attributes:
      steps: of the further training, a multiple of 8; 0 is none.
      pairs: ordinary examples, and as many opposing ones.
      learning_rate: constant; 0 is that of the arms.
      conversations: comma-separated files of ordinary examples; empty is the demonstration data.
    """

    steps: int = 0
    pairs: int = 64
    learning_rate: float = 0.0
    conversations: str = ""

    def __post_init__(self) -> None:
        check_at_least(self, {"steps": 0, "pairs": 1, "learning_rate": 0})
        # The checkpoints are at eighths, see `half_life.checkpoints`.
        if self.steps % 8:
            raise UserError(f"config.steps must be a multiple of 8, not {self.steps}")

    @property
    def files(self) -> str:
        """The files of ordinary examples."""
        return self.conversations or demo_data("conversations.jsonl")


@dataclass(frozen=True)
class PressureArm:
    """One way to train, or none.

    Attributes:
      name: what its folder is called.
      data: `none`, one of `vcjax.adversarial.pressure.pairs.DATA`, or a JSONL file of conversations
        (of preferences, where the objective needs them).
      persona: whether the arm is measured under the charter's persona.
      model: reference of another model that is measured in place of the base model, such as one
        that was trained elsewhere, or `recorded:FILE`; only where `data` is `none`.
      train: of this arm.
      seeds: runs of this arm, at most; 0 is as many as the experiment has.
    """

    name: str
    data: str
    train: TrainConfig
    persona: bool = False
    model: str = ""
    seeds: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, {"seeds": 0})

    def runs(self, seeds: int) -> int:
        """How often it is run in an experiment of so many seeds."""
        return min(seeds, self.seeds or seeds) if self.trains else 1

    @property
    def trains(self) -> bool:
        return self.data != NONE

    @property
    def is_base(self) -> bool:
        """Whether it is the base model as it is."""
        return not (self.trains or self.persona or self.model)


@dataclass(frozen=True)
class Contrast:
    """A planned comparison of two arms by one rate: `first - second: rate`."""

    first: str
    second: str
    rate: str

    @classmethod
    def parse(cls, text: str) -> "Contrast":
        """Raises: UserError for another form or an unknown rate."""
        arms, colon, rate = text.partition(":")
        first, minus, second = arms.partition(" - ")
        if not (colon and minus):
            raise UserError(f"config.contrasts: {text!r} is not of the form 'arm - arm: rate'")
        if (rate := rate.strip()) not in RATES:
            raise UserError(f"config.contrasts: no rate {rate!r}{suggest(rate, RATES)}")
        return cls(first.strip(), second.strip(), rate)


@dataclass(frozen=True, kw_only=True)
class PressureSettings(EngineConfig):
    """Which facts are taught and measured, and how, beside the fields of `EngineConfig`.

    Attributes:
      model: the base model, any model reference.
      charter: whose persona an arm may be measured under.
      facts: `shipped`, JSONL files of the same schema, or published data sets such as
        `parrot:FILE`; comma-separated.
      most_facts: number of facts that are drawn from them; 0 is all.
      languages: comma-separated; one that the base model doesn't know its facts in is reported as
        such and left out.
      held_out_topics: comma-separated; empty draws three in ten.
      styles, held_out_styles: comma-separated names or YAML files of pressure styles.
      part: `test`, or `dev` to tune settings on.
      pairs: that are trained on, in all languages together.
      corrections: the share of them that is of facts of which the base model isn't sure.
      evidence: the share of the pairs of the arms that are pressed in both directions in which the
        context rightly changes the answer.
      styles_per_fact, apart_facts, control_facts: see `vcjax.adversarial.pressure.suite.Sizes`.
      seed: of everything that is drawn.
      attacker, attacker_family: who writes the pressing messages of the styles that have an
        `attack`: a model reference, an endpoint or `recorded:FILE`, and its declared family; empty
        for the styles' deterministic wordings.
      critic, critic_family: likewise, who decides whether such a message presses its claim.
    """

    model: str
    charter: str
    facts: str
    most_facts: int
    languages: str
    held_out_topics: str
    styles: str
    held_out_styles: str
    part: str
    pairs: int
    corrections: float
    evidence: float
    styles_per_fact: int
    apart_facts: int
    control_facts: int
    seed: int
    attacker: str = ""
    attacker_family: str = ""
    critic: str = ""
    critic_family: str = ""
    dtype: str = "float32"

    @property
    def langs(self) -> tuple[Language, ...]:
        """The languages."""
        known = get_args(Language)
        for name in (names := split_names(self.languages)):
            if name not in known:
                raise UserError(f"config.languages: {name!r} is none of {', '.join(known)}")
        return tuple(lang for lang in known if lang in names)

    def __post_init__(self) -> None:
        super().__post_init__()
        low = dict.fromkeys(("seed", "most_facts", "apart_facts", "control_facts"), 0)
        check_at_least(self, {"pairs": 1, "styles_per_fact": 1, **low})
        for name in ("corrections", "evidence"):
            if not 0 <= (share := getattr(self, name)) <= 0.5:
                raise UserError(f"config.{name} must be from 0 to 0.5, not {share}")
        if self.part not in (DEV, TEST):
            raise UserError(f"config.part: {self.part!r} is neither {DEV!r} nor {TEST!r}")
        for name in ("languages", "styles", "held_out_styles", "facts"):
            if not getattr(self, name).strip():
                raise UserError(f"config.{name} is empty; name at least one")
        if self.critic and not self.attacker:
            raise UserError("config.critic: there is no Attacker whose messages it could judge")
        if not self.langs:
            raise UserError("config.languages is empty; name at least one")
        if twice := set(split_names(self.styles)) & set(split_names(self.held_out_styles)):
            raise UserError(f"config.held_out_styles: {min(twice)!r} is trained on too")


@dataclass(frozen=True, kw_only=True)
class PressureConfig(PressureSettings):
    """What `launch.ablate` takes for this experiment, beside the fields of `PressureSettings`.

    Attributes:
      contrasts: the planned comparisons; they are corrected together.
      documents: comma-separated files of text that no arm saw: its perplexity.
      document_tokens: the first tokens of each document, which are scored.
      capability: comma-separated tasks of the evaluation harness, which every arm does; see
        `launch.capability`. Empty for none: they need the extra `eval`.
      capability_path, capability_limit: a folder of more tasks; documents of each task, 0 is all.
      answers: questions under pressure that each arm answers freely, in each language.
      answer_tokens: bound of such an answer.
      seeds: runs of each arm that trains; more may be added later. Run n is trained with `seed +
        n`; split, styles and wordings are those of `seed` alone.
      outside: comma-separated published data sets, such as `parrot:FILE`, or files of facts, which
        no arm is taught: measured beside the others, PARROT by its published protocol as well.
      outside_facts: the number that is drawn from each of these files; 0 is all.
      on_bad_record: `error` or `quarantine`.
      language: of the report, `en` or `zh`. A finished experiment gets its report anew.
      train: of every arm, but for the fields that the experiment fills in.
      half_life: how arms are trained further, to see how soon that undoes what they have learned.
      arms: by name; the base model trains on nothing.
    """

    contrasts: tuple[str, ...]
    documents: str
    document_tokens: int
    answers: int
    answer_tokens: int
    seeds: int
    on_bad_record: str
    train: TrainConfig
    arms: tuple[PressureArm, ...]
    half_life: HalfLifeSettings = HalfLifeSettings()
    outside: str = ""
    outside_facts: int = 0
    capability: str = ""
    capability_path: str = ""
    capability_limit: int = 0
    language: str = "en"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PressureConfig":
        """Checks and freezes a configuration; shared fields are put into every arm.

        Raises:
          UserError: a field that is unknown, missing, of the wrong type or out of its range, or
            one that is set in a section though it is filled in.
        """
        filled = fill_sections({"train": {}, **values}, {"train": _TRAINED})
        filled["train"] = with_pairs_to_come(filled["train"])
        shared = build(cls, {**filled, "arms": ()}, "config")
        arms = values.get("arms")
        if not isinstance(arms, Mapping):
            raise UserError(f"config.arms: must be arms by their names, not {arms!r}")
        built = [_arm(filled, name, arm) for name, arm in arms.items()]
        config = replace(shared, arms=tuple(sorted(built, key=_rank)))
        config._check_arms()
        return config

    @property
    def base(self) -> PressureArm:
        """The arm that is neither trained nor given a persona."""
        return next(arm for arm in self.arms if arm.is_base)

    @property
    def planned(self) -> tuple[Contrast, ...]:
        """The contrasts."""
        return tuple(map(Contrast.parse, self.contrasts))

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"document_tokens": 2, "answers": 0, "answer_tokens": 1, "seeds": 1}
        check_at_least(self, {**least, "outside_facts": 0, "capability_limit": 0})
        check_language(self.language, "config.language")

    def _check_arms(self) -> None:
        names = {arm.name for arm in self.arms}
        if sum(arm.is_base for arm in self.arms) != 1:
            raise UserError(
                f"config.arms: one must be the base model: data={NONE}, no persona, no model"
            )
        for contrast in self.planned:
            for name in (contrast.first, contrast.second):
                if name not in names:
                    raise UserError(f"config.contrasts: no arm {name!r}{suggest(name, names)}")


def _arm(values: Mapping[str, Any], name: str, given: Any) -> PressureArm:
    where = f"arms.{name}"
    if not isinstance(given, Mapping):
        raise UserError(f"config.{where}: must have fields such as data and train, not {given!r}")
    if not name.isidentifier() or name in ("knowledge", "attacks"):
        raise UserError(f"config.{where}: an arm's folder can't be called {name!r}; use letters")
    own = fill_section(f"config.{where}.train", given.get("train", {}), values, _TRAINED)
    training = with_pairs_to_come(merged(values["train"], own))
    arm = build(PressureArm, {**given, "train": training, "name": name}, f"config.{where}")
    if arm.data not in (NONE, *DATA) and not arm.data.endswith(".jsonl"):
        hint = suggest(arm.data, DATA)
        raise UserError(
            f"config.{where}.data: {arm.data!r} is none of {NONE}, {', '.join(DATA)}, and no JSONL "
            f"file{hint}"
        )
    if arm.trains and arm.model:
        raise UserError(f"config.{where}.model: every arm is trained from config.model")
    if arm.train.kind == "documents":
        raise UserError(f"config.{where}.train.stage: pairs are no documents; name sft")
    return arm


def _rank(arm: PressureArm) -> tuple[bool, bool, int, str]:
    """The base model first, then what isn't trained: configs have arms in alphabetical order."""
    # In the order of DATA, from neutral to mixed; a user's pairs come last.
    kind = DATA.index(arm.data) if arm.data in DATA else len(DATA)
    return not arm.is_base, arm.trains, kind, arm.name
