"""The inputs of a synthesis run, read and checked before anything is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vcjax.adversarial.actor import check_actor_mode
from vcjax.adversarial.attacks.style import SEVERITIES, Attack, choose_attacks
from vcjax.adversarial.calls import ACTOR, ATTACKER, CRITIC, TARGET
from vcjax.adversarial.cells import AttackSuite, Cell, Shard
from vcjax.adversarial.config import SynthesisConfig, split_names
from vcjax.adversarial.critic.forms import FORMS
from vcjax.adversarial.critic.labels import (
    Labelled,
    read_calibration,
    rules_on,
    submissions,
)
from vcjax.adversarial.critic.rules import choose_filters
from vcjax.adversarial.critic.votes import AcceptThresholds
from vcjax.adversarial.topics import Topics, read_topics, topic_count
from vcjax.charter.load import load_charter
from vcjax.charter.parts import Subdomain
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.data.held_out import HeldOut
from vcjax.data.importers import read_records
from vcjax.data.records import Question
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.roles.endpoint_spec import split_references
from vcjax.roles.grading import check_families
from vcjax.roles.references import UNDECLARED, RoleSpec, families_of, known_family
from vcjax.text.language import Language


@dataclass(frozen=True)
class Inputs:
    """A run's inputs.

    Attributes:
      cells: whose attempts are trained on.
      questions: written ones, which stand in where the Attacker fails.
      quarantined: bad records among their files, where those are set aside.
      labelled: answers with people's labels, for the Critic's calibration.
      topics: of the cells; None where the Attacker is to write them.
      excluded: texts that no query may repeat.
      same_family: whether a Critic is of the Actor's or the target's family.
    """

    suite: AttackSuite
    shard: Shard
    cells: tuple[Cell, ...]
    topics: Topics | None
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
    check_actor_mode(config.actor_mode, config.answers)
    choose_filters(split_names(config.filters))
    if config.critic_form not in FORMS:
        known = f"{', '.join(FORMS)}{suggest(config.critic_form, FORMS)}"
        raise UserError(f"config.critic_form: {config.critic_form!r} is none of {known}")
    suite = read_suite(config)
    benchmark = load_benchmark(config.benchmark).items if config.benchmark else ()
    specs = {
        ATTACKER: RoleSpec(config.attacker, config.attacker_family),
        ACTOR: RoleSpec(config.actor, config.actor_family),
        **({TARGET: RoleSpec(config.target, config.target_family)} if config.target else {}),
        **critic_specs(config),
    }
    families = {name: known_family(spec) or UNDECLARED for name, spec in specs.items()}
    if config.critic:  # without one no family is compared with another
        families |= families_of({name: spec for name, spec in specs.items() if name != ATTACKER})
    same = [
        check_families(family, families[judged], config.allow_same_family, CRITIC)
        for name, family in families.items()
        if name.startswith(CRITIC)
        for judged in (ACTOR, TARGET)
        if judged in families
    ]
    questions, quarantined = _questions(config, suite.charter)
    # Each shard has other questions: two of them could stand in with the same one.
    shard = Shard.parse(config.shard)
    cells = shard.cells(suite.cells())
    return Inputs(
        suite=suite,
        shard=shard,
        cells=cells,
        topics=_topics(config, suite, cells, shard),
        questions=tuple(shard.part(questions)),
        quarantined=quarantined,
        labelled=_labelled(config, suite.charter),
        excluded=tuple(item.question for item in benchmark),
        specs=specs,
        families=families,
        same_family=any(same),
    )


def read_suite(config: SynthesisConfig) -> AttackSuite:
    """Reads the charter and the attacks.

    Raises:
      UserError: one that is missing, bad, or named where it can't be.
    """
    charter = load_charter(config.charter)
    severities = _numbers(config.severities, "severities", SEVERITIES[0], SEVERITIES[-1])
    if not severities:
        raise UserError("config.severities: name at least one level from 1 to 3")
    attacks, held_out_attacks = _attacks(config)
    return AttackSuite(
        charter=charter,
        attacks=attacks,
        held_out_attacks=held_out_attacks,
        subdomains=_subdomains(config, charter),
        languages=_languages(config, charter),
        severities=severities,
        turns=_numbers(config.turns, "turns", 2, 16),
    )


def _attacks(config: SynthesisConfig) -> tuple[tuple[Attack, ...], tuple[Attack, ...]]:
    """The attacks that are trained on, and the held-out ones."""
    named = split_names(config.held_out_attacks)
    held_out = choose_attacks(named) if named else ()
    names = {attack.name for attack in held_out}
    both = names & set(split_names(config.attacks))
    if both:
        raise UserError(
            f"config.held_out_attacks: {min(both)!r} is in config.attacks too; name it in one"
        )
    # An empty list is all attacks, the held-out ones among them, which are taken out again.
    chosen = choose_attacks(split_names(config.attacks))
    return tuple(attack for attack in chosen if attack.name not in names), held_out


def _subdomains(config: SynthesisConfig, charter: Charter) -> tuple[Subdomain, ...]:
    chosen = [charter.subdomain(id) for id in split_names(config.subdomains)]
    for subdomain in chosen:
        if subdomain.held_out:
            raise UserError(
                f"config.subdomains: charter {charter.name!r} holds {subdomain.id!r} out"
            )
    return tuple(dict.fromkeys(chosen)) or charter.subdomains(include_held_out=False)


def _languages(config: SynthesisConfig, charter: Charter) -> tuple[Language, ...]:
    wanted = split_names(config.languages)
    for lang in wanted:
        if lang not in charter.languages:
            raise UserError(f"config.languages: charter {charter.name!r} has no language {lang!r}")
    return tuple(lang for lang in charter.languages if lang in wanted)


def _numbers(value: str, field: str, low: int, high: int) -> tuple[int, ...]:
    numbers = []
    for part in split_names(value):
        if not part.isdecimal() or not low <= int(part) <= high:
            raise UserError(f"config.{field}: must be numbers from {low} to {high}, not {part!r}")
        if int(part) in numbers:
            raise UserError(f"config.{field}: {part} is there twice")
        numbers.append(int(part))
    return tuple(numbers)


def critic_specs(config: SynthesisConfig) -> dict[str, RoleSpec]:
    """`critic`, `critic2` and so on."""
    models, families = split_references(config.critic), split_names(config.critic_family)
    if len(families) not in (0, len(models)):
        raise UserError(f"config.critic_family: {len(families)} families for {len(models)} critics")
    families = families or [""] * len(models)
    return {
        f"{CRITIC}{n if n > 1 else ''}": RoleSpec(model, family)
        for n, (model, family) in enumerate(zip(models, families, strict=True), start=1)
    }


def _topics(
    config: SynthesisConfig, suite: AttackSuite, cells: Sequence[Cell], shard: Shard
) -> Topics | None:
    if topic_count(config.topics) is None:
        return read_topics(config.topics, suite, cells)
    if shard.count > 1:
        raise UserError(
            "config.topics: each shard would write topics of its own; have them written by a run "
            "without config.shard and with config.attempts=1, and name the topics.jsonl in its "
            "workdir"
        )
    return None


def _questions(
    config: SynthesisConfig, charter: Charter
) -> tuple[tuple[Question, ...], tuple[dict[str, Any], ...]]:
    """The questions, and what was quarantined. What the charter holds out is left out: it would
    stand in for other questions."""
    if not config.questions:
        return (), ()
    loaded = read_records(
        config.questions,
        "questions",
        on_bad_record=config.on_bad_record,
        columns=config.columns,
    )
    questions = HeldOut(charter).without(loaded.records)
    return tuple(each for each in questions if isinstance(each, Question)), tuple(
        loaded.quarantined
    )


def _labelled(config: SynthesisConfig, charter: Charter) -> tuple[Labelled, ...]:
    if not config.calibration:
        return ()
    threshold = AcceptThresholds.of(charter, config.accept_score).score
    items = read_calibration(config.calibration, threshold)
    unjudged = submissions(items, charter)
    if unjudged and not config.critic:
        raise UserError(
            f"{config.calibration}: {unjudged[0].id} needs a verdict, and there is no critic"
        )
    filters = choose_filters(split_names(config.filters))
    if all(rules_on(item, charter, filters) for item in items):
        raise UserError(f"{config.calibration}: rules reject all of its answers before a critic")
    return tuple(items)
