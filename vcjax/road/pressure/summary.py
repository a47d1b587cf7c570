"""From the preferences of all arms to what was found: rates, contrasts, costs and a verdict."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.adversarial.pressure.probes import TO_FALSE, Probe
from vcjax.adversarial.pressure.rates import (
    CONTRARIAN,
    FLIPS,
    RATES,
    Preferences,
    arm_rates,
    breakdown,
    calibration,
    difference,
    trait,
)
from vcjax.adversarial.pressure.suite import HELD_OUT, NEUTRAL
from vcjax.charter.load import load_charter
from vcjax.charter.schema import Charter
from vcjax.core.files import read_json
from vcjax.evaluation.facts.fact import facts_card, facts_hash, left_out
from vcjax.road.pressure.arms import PressureRun, answered
from vcjax.road.pressure.capability import task_scores
from vcjax.road.pressure.config import PressureConfig
from vcjax.road.pressure.experiment import Experiment, counted, knows
from vcjax.stats.intervals import interval_record
from vcjax.stats.multiplicity import corrected
from vcjax.text.language import Language

Runs = Mapping[str, Sequence[PressureRun]]
Probes = Mapping[Language, Mapping[str, list[Probe]]]


def summarise(
    config: PressureConfig,
    charter: Charter,
    experiment: Experiment,
    arms: Runs,
    seconds: Mapping[str, float],
    readings: int,
) -> dict[str, Any]:
    """The summary of the experiment.

    Args:
      arms: the runs of each arm, in the order of the config.
      seconds: of every stage.
      readings: how often this workdir's part of the facts was read to write a summary.
    """
    probes: Probes = {lang: experiment.suite(lang) for lang in experiment.languages}
    preferences = {name: [run.preferences() for run in runs] for name, runs in arms.items()}
    contrasts = _contrasts(config, probes, preferences)
    answers = _answers(experiment, arms, config.answers)
    return {
        "model": config.model,
        "charter": config.charter,
        "domains": _domain_names(charter),
        "part": config.part,
        "readings": readings,
        "seed": config.seed,
        "facts": {
            **facts_card(experiment.facts),
            "hash": facts_hash(experiment.facts),
            "left_out": left_out(config.facts),
            "held_out_topics": sorted(experiment.split.held_out_topics),
        },
        "styles": {
            "trained": [style.name for style in experiment.styles],
            "held_out": [style.name for style in experiment.held_out_styles],
        },
        "knowledge": {
            lang: {**counted(found), "measured": knows(found)}
            for lang, found in experiment.knowledge.items()
        },
        "rates": {name: rate.label for name, rate in RATES.items()},
        "probes": {
            lang: {group: len(own) for group, own in groups.items()}
            for lang, groups in probes.items()
        },
        "arms": {
            name: _arm(experiment, runs, probes, preferences[name], seconds)
            for name, runs in arms.items()
        },
        "contrasts": contrasts,
        "answers": answers,
        "named": {name: named_answers(answers, name) for name in arms} if answers else {},
    }


def _domain_names(charter: Charter) -> dict[str, dict[str, str]]:
    """What the domains of facts are called, by id and language."""
    # Those of the shipped facts are of the shipped charter, and a user's own may not have them.
    known = [*load_charter("universal").subdomains(), *charter.subdomains()]
    return {each.id: dict(each.name) for each in known}


def _arm(
    experiment: Experiment,
    runs: Sequence[PressureRun],
    probes: Probes,
    preferences: Sequence[Preferences],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    arm = runs[0].arm
    topics = {fact.id: fact.topic for fact in experiment.facts}
    found: dict[str, Any] = {
        "data": arm.data,
        "objective": arm.train.objective if arm.trains else None,
        "persona": arm.persona,
        "seeds": [run.seed for run in runs] if arm.trains else [],
        "languages": {},
        "documents": {},
        "training": [_training(run) for run in runs if arm.trains],
        "seconds": sum(
            value
            for name, value in seconds.items()
            # With the slash, as one arm's name may begin another's.
            if name == arm.name or name.startswith(f"{arm.name}/")
        ),
    }
    if (tasks := [run.capability() for run in runs])[0] is not None:
        found["capability"] = task_scores([each for each in tasks if each is not None])
    for lang in runs[0].document_languages:
        found["documents"][lang] = _documents([run.document_scores(lang) for run in runs])
    for lang, groups in probes.items():
        rates = arm_rates(groups, preferences)
        pressed = [p for p in groups[HELD_OUT] if p.claimed == TO_FALSE]
        stated = [p for p in groups[HELD_OUT] if p.claimed != TO_FALSE]
        found["languages"][lang] = {
            "rates": rates,
            "trait": trait(rates),
            "calibration": {
                "neutral": calibration(groups[NEUTRAL], preferences),
                "pressed": calibration(pressed, preferences),
                "stated": calibration(stated, preferences),
            },
            "by_style": {
                FLIPS: breakdown(pressed, preferences, lambda p: p.style, RATES[FLIPS]),
                CONTRARIAN: breakdown(stated, preferences, lambda p: p.style, RATES[CONTRARIAN]),
            },
            "by_topic": {
                FLIPS: breakdown(pressed, preferences, lambda p: topics[p.fact], RATES[FLIPS]),
                CONTRARIAN: breakdown(
                    stated, preferences, lambda p: topics[p.fact], RATES[CONTRARIAN]
                ),
            },
        }
    return found


def _documents(runs: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """`{perplexity, documents, runs}`: of each run the exponential of the mean loss of a token."""
    # Over all tokens, as perplexity is defined: a mean over documents would favour short ones.
    losses = [
        sum(each["nats"] for each in scores) / sum(each["tokens"] for each in scores)
        for scores in runs
    ]
    perplexities = [math.exp(loss) for loss in losses]
    mean = sum(perplexities) / len(perplexities)
    return {"perplexity": mean, "documents": len(runs[0]), "runs": perplexities}


def _training(run: PressureRun) -> dict[str, Any]:
    summary = read_json(run.folder / "train" / "summary.json")
    fields = ("steps", "tokens", "loss_tokens", "first_loss", "last_loss")
    return {"seed": run.seed, **{name: summary.get(name) for name in fields}}


def _contrasts(
    config: PressureConfig,
    probes: Probes,
    preferences: Mapping[str, Sequence[Preferences]],
) -> list[dict[str, Any]]:
    """The planned contrasts of all measured languages, corrected together; those of too few facts
    to say anything have no `p_holm`."""
    found, changes = [], []
    for lang, groups in probes.items():
        for plan in config.planned:
            change = difference(
                plan.rate, groups, preferences[plan.first], preferences[plan.second]
            )
            names = {"lang": lang, "arms": [plan.first, plan.second], "rate": plan.rate}
            found.append({**names, **interval_record(change, "difference")})
            changes.append(change)
    # Holm's method over all languages and contrasts: they are one question, asked in many ways. The
    # report's words follow from the same family.
    for number, p in corrected(dict(enumerate(changes))).items():
        found[number]["p_holm"] = p
    return found


def _answers(experiment: Experiment, arms: Runs, count: int) -> list[dict[str, Any]]:
    """The free answers: `{id, lang, messages, true, false, answers: {arm: text}}`."""
    if not count:
        return []
    texts = {
        name: {each["id"]: each["answer"] for each in runs[0].answers()}
        for name, runs in arms.items()
    }
    facts = {fact.id: fact for fact in experiment.facts}
    found = []
    for probe in answered(experiment, count):
        text = facts[probe.fact].texts[probe.lang]
        found.append(
            {
                "id": probe.id,
                "lang": probe.lang,
                "style": probe.style,
                "domain": facts[probe.fact].domain or facts[probe.fact].topic,
                "messages": list(probe.messages),
                "true": text.true,
                "false": text.false,
                "answers": {name: own[probe.id] for name, own in texts.items()},
            }
        )
    return found


def named_answers(answers: Sequence[Mapping[str, Any]], arm: str) -> dict[str, int]:
    """How many of an arm's free answers name the true answer alone, the false one alone, or other.

    By their words: an answer that names both, or neither, is `other`.
    """
    counts = {"true": 0, "false": 0, "other": 0}
    for each in answers:
        text = each["answers"][arm].lower()
        has = {name: each[name].lower() in text for name in ("true", "false")}
        kind = "other" if has["true"] == has["false"] else ("true" if has["true"] else "false")
        counts[kind] += 1
    return counts
