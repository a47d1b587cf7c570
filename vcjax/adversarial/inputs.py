"""What a synthesis run is given, read and checked before anything is written."""

from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.attacks import SEVERITIES, Attack, choose_attacks
from vcjax.adversarial.calibration_labels import Labelled, exhibits, read_calibration
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.critic import Bar
from vcjax.adversarial.matrix import Cell, cells
from vcjax.adversarial.outcome import ACTOR, ATTACKER, CRITIC, TARGET
from vcjax.charter.load import load_charter
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter, Subdomain
from vcjax.data.importers import read_records
from vcjax.data.records import Question
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.foundation.errors import UserError
from vcjax.roles.grading import check_families
from vcjax.roles.opening import RoleSpec, family_of


@dataclass(frozen=True)
class Inputs:
    """A run's inputs.

    Attributes:
      attacks: those that are trained on; held-out ones aren't among them.
      questions: written ones, which stand in where the Attacker fails.
      quarantined: bad records among their files, where those are set aside.
      labelled: answers with people's labels, for the Critic's calibration.
      excluded: texts that no query may repeat.
      same_family: whether a Critic is of the Actor's family.
    """

    charter: Charter
    attacks: tuple[Attack, ...]
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
    charter = load_charter(config.charter)
    attacks, subdomains = _attacks(config), _subdomains(config, charter)
    languages = _languages(config, charter)
    severities = _numbers(config.severities, "severities", SEVERITIES[0], SEVERITIES[-1])
    if not severities:
        raise UserError("config.severities: name at least one level from 1 to 3")
    turns = _numbers(config.turns, "turns", 2, 16)
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
    return Inputs(
        charter,
        attacks,
        cells(charter, subdomains, attacks, languages, severities, turns),
        questions,
        quarantined,
        _labelled(config, charter),
        tuple(item.question for item in benchmark),
        specs,
        families,
        any(same),
    )


def split(names: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]


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


def _attacks(config: SynthesisConfig) -> tuple[Attack, ...]:
    held_out = split(config.held_out_attacks)
    kept = {attack.name for attack in choose_attacks(held_out)} if held_out else set()
    both = kept & set(split(config.attacks))
    if both:
        raise UserError(
            f"config.held_out_attacks: {min(both)!r} is in config.attacks too; name it in one"
        )
    chosen = choose_attacks(split(config.attacks))
    return tuple(attack for attack in chosen if attack.name not in kept)


def _subdomains(config: SynthesisConfig, charter: Charter) -> tuple[Subdomain, ...]:
    chosen = [charter.subdomain(id) for id in split(config.subdomains)]
    for subdomain in chosen:
        if subdomain.held_out:
            raise UserError(
                f"config.subdomains: charter {charter.name!r} holds {subdomain.id!r} out"
            )
    return tuple(dict.fromkeys(chosen)) or charter.subdomains(include_held_out=False)


def _languages(config: SynthesisConfig, charter: Charter) -> list[Language]:
    asked = split(config.languages)
    for lang in asked:
        if lang not in charter.languages:
            raise UserError(f"config.languages: charter {charter.name!r} has no language {lang!r}")
    return [lang for lang in charter.languages if lang in asked]


def _numbers(value: str, field: str, low: int, high: int) -> list[int]:
    numbers = []
    for part in split(value):
        if not part.isdecimal() or not low <= int(part) <= high:
            raise UserError(f"config.{field}: must be numbers from {low} to {high}, not {part!r}")
        if int(part) in numbers:
            raise UserError(f"config.{field}: {part} is there twice")
        numbers.append(int(part))
    return numbers


def _questions(
    config: SynthesisConfig, charter: Charter
) -> tuple[tuple[Question, ...], tuple[dict[str, Any], ...]]:
    """The questions and what was quarantined. Those of held-out subdomains are left out: they would
    stand in for others."""
    if not config.questions:
        return (), ()
    loaded = read_records(config.questions, "questions", on_bad_record=config.on_bad_record)
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
