"""What a synthesis run is given, read and checked before anything is written."""

from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.actor import check_mode
from vcjax.adversarial.cells import Cell
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.critic.forms import FORMS
from vcjax.adversarial.critic.labels import Labelled, exhibits, read_calibration
from vcjax.adversarial.critic.votes import Bar
from vcjax.adversarial.outcome import ACTOR, ATTACKER, CRITIC, TARGET
from vcjax.adversarial.scope import Scope, read_scope, split
from vcjax.adversarial.shards import Shard
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.data.importers import read_records
from vcjax.data.records import Question
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.roles.grading import check_families
from vcjax.roles.references import RoleSpec, family_of


@dataclass(frozen=True)
class Inputs:
    """A run's inputs.

    Attributes:
      cells: that are attacked to train on what comes of it.
      questions: written ones, which stand in where the Attacker fails.
      quarantined: bad records among their files, where those are set aside.
      labelled: answers with people's labels, for the Critic's calibration.
      excluded: texts that no query may repeat.
      same_family: whether a Critic is of the Actor's family.
    """

    scope: Scope
    shard: Shard
    cells: tuple[Cell, ...]
    questions: tuple[Question, ...]
    quarantined: tuple[dict[str, Any], ...]
    labelled: tuple[Labelled, ...]
    excluded: tuple[str, ...]
    specs: dict[str, RoleSpec]
    families: dict[str, str]
    same_family: bool


def read_inputs(config: SynthesisConfig) -> Inputs:
    """Reads everything but the models.

    Raises:
      UserError: an input that is missing or bad, or a Critic of the Actor's family that wasn't
        allowed.
    """
    check_mode(config.actor_mode, config.answers)
    if config.critic_form not in FORMS:
        known = f"{', '.join(FORMS)}{suggest(config.critic_form, FORMS)}"
        raise UserError(f"config.critic_form: {config.critic_form!r} is none of {known}")
    scope = read_scope(config)
    charter = scope.charter
    benchmark = load_benchmark(config.benchmark).items if config.benchmark else ()
    specs = {
        ATTACKER: RoleSpec(config.attacker, config.attacker_family),
        ACTOR: RoleSpec(config.actor, config.actor_family),
        **({TARGET: RoleSpec(config.target, config.target_family)} if config.target else {}),
        **_critics(config),
    }
    families = {name: family_of(spec, f"{name}_family") for name, spec in specs.items()}
    same = [
        check_families(family, families[judged], config.allow_same_family, CRITIC)
        for name, family in families.items()
        if name.startswith(CRITIC)
        for judged in (ACTOR, TARGET)
        if judged in families
    ]
    questions, quarantined = _questions(config, charter)
    shard = Shard.parse(config.shard)
    return Inputs(
        scope,
        shard,
        shard.cells(scope.cells()),
        tuple(shard.part(questions)),
        quarantined,
        _labelled(config, charter),
        tuple(item.question for item in benchmark),
        specs,
        families,
        any(same),
    )


def _critics(config: SynthesisConfig) -> dict[str, RoleSpec]:
    """`critic`, `critic2` and so on."""
    models, families = split(config.critic), split(config.critic_family)
    if len(families) not in (0, len(models)):
        raise UserError(f"config.critic_family: {len(families)} families for {len(models)} critics")
    families = families or [""] * len(models)
    return {
        f"{CRITIC}{n if n > 1 else ''}": RoleSpec(model, family)
        for n, (model, family) in enumerate(zip(models, families, strict=True), start=1)
    }


def _questions(
    config: SynthesisConfig, charter: Charter
) -> tuple[tuple[Question, ...], tuple[dict[str, Any], ...]]:
    """The questions and what was quarantined. Those of held-out subdomains are left out: they would
    stand in for others."""
    if not config.questions:
        return (), ()
    loaded = read_records(
        config.questions,
        "questions",
        on_bad_record=config.on_bad_record,
        columns=config.columns,
    )
    held_out = {each.id for each in charter.subdomains() if each.held_out}
    kept = (record for record in loaded.records if isinstance(record, Question))
    return tuple(q for q in kept if q.domain not in held_out), tuple(loaded.quarantined)


def _labelled(config: SynthesisConfig, charter: Charter) -> tuple[Labelled, ...]:
    if not config.calibration:
        return ()
    items = read_calibration(config.calibration, Bar.of(charter, config.accept_score).score)
    to_judge = exhibits(items, charter)
    if to_judge and not config.critic:
        raise UserError(
            f"{config.calibration}: {to_judge[0].id} needs a verdict, and there is no critic"
        )
    return tuple(items)
