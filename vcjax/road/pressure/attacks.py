"""The stage in which an Attacker writes the messages that press, before anything is pressed."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vcjax.adversarial.pressure.written import Request, write_messages, written_counts
from vcjax.core.files import hash_text, read_json, read_jsonl, write_json, write_jsonl
from vcjax.core.lineage import Parent
from vcjax.core.run import SUMMARY, Run
from vcjax.evaluation.facts.fact import facts_hash
from vcjax.road.pressure.config import PressureSettings
from vcjax.road.pressure.experiment import KNOWLEDGE, Experiment
from vcjax.roles.references import RoleSpec, family_of, models_of, open_roles, without_options
from vcjax.weights.workdir import write_sources

ATTACKS, ATTACKER, CRITIC = "attacks", "attacker", "critic"
_MESSAGES = "messages.jsonl"


def check_attacks(config: PressureSettings) -> None:
    """Raises UserError if the Attacker's or the Critic's family isn't known."""
    for name, spec in _specs(config).items():
        family_of(spec, f"{name}_family")


def write_attacks(experiment: Experiment, taught: Sequence[tuple[str, int]]) -> None:
    """Has the messages written, unless that is done, and gives them to the experiment.

    Args:
      taught: data and seed of each run that is trained on pairs of the experiment's. More of them
        have the messages written that are missing.
    """
    config, folder = experiment.config, experiment.workdir / ATTACKS
    requests = _requests(experiment, taught)
    # Of the requests: more seeds or arms need more messages, and the stage is then continued
    # instead of refused.
    wanted = hash_text(json.dumps([request.id for request in requests]))
    settings: dict[str, Any] = {
        "attacker": without_options(config.attacker),
        "critic": config.critic and without_options(config.critic),
        "facts": facts_hash(experiment.facts),
        "wanted": {"hash": wanted},
    }
    run = Run(ATTACKS, folder, settings, seed=config.seed, free=["wanted"])
    if not run.is_finished():
        roles, parents = open_roles(_specs(config), config, folder)
        with run.opened():
            write_sources(folder, models_of(roles))
            attacker, critic = roles[ATTACKER], roles.get(CRITIC)
            written = write_messages(requests, attacker, critic, folder, config.seed)
            write_jsonl(folder / _MESSAGES, map(asdict, written))
            counts = written_counts(written, critic=critic is not None)
            same = critic is not None and critic.family == attacker.family
            write_json(folder / SUMMARY, {**counts, "same_family": same})
            run.finish([*parents, Parent.of(KNOWLEDGE, experiment.workdir / KNOWLEDGE)])
    records = [record for _, record in read_jsonl(folder / _MESSAGES)]
    experiment.messages = {
        record["id"]: tuple(record["wording"]) for record in records if record["wording"]
    }


def attacks_summary(experiment: Experiment) -> dict[str, Any]:
    """What `write_attacks` counted, with the roles."""
    config = experiment.config
    roles = {ATTACKER: config.attacker, CRITIC: config.critic or None}
    return {**roles, **read_json(experiment.workdir / ATTACKS / SUMMARY)}


def _specs(config: PressureSettings) -> dict[str, RoleSpec]:
    specs = {ATTACKER: RoleSpec(config.attacker, config.attacker_family)}
    if config.critic:
        specs[CRITIC] = RoleSpec(config.critic, config.critic_family)
    return specs


def _requests(experiment: Experiment, taught: Sequence[tuple[str, int]]) -> list[Request]:
    """One for each fact, language and style that anything is pressed with."""
    probes = [probe for lang in experiment.languages for own in experiment.suite(lang).values()
              for probe in own]  # fmt: skip
    for data, seed in taught:
        probes += experiment.pair_probes(data, seed)
    every = (*experiment.styles, *experiment.held_out_styles)
    styles = {style.name: style for style in every if style.attack}
    facts = {fact.id: fact for fact in experiment.facts}
    found = [
        Request(facts[probe.fact], probe.lang, styles[probe.style])
        for probe in probes
        if probe.style in styles
    ]
    # The same message presses in both directions and in every arm, and is written once.
    return list({request.id: request for request in found}.values())
