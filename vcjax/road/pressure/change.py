"""One model before and after: how often it gives up what it knew, and what else has changed."""

from typing import Any

from vcjax.adversarial.pressure.rates import (
    CONTRARIAN,
    CORRECTIONS,
    EVIDENCE,
    FLIPS,
    FORGOTTEN,
    RATES,
    Preferences,
    arm_rates,
    difference,
    trait,
)
from vcjax.road.pressure.experiment import Experiment, counted, knows
from vcjax.stats.intervals import interval_record

COMPARED = (FLIPS, CONTRARIAN, CORRECTIONS, EVIDENCE, FORGOTTEN)
"""Rates whose differences are tested together."""


def changes(experiment: Experiment, before: Preferences, after: Preferences) -> dict[str, Any]:
    """How a model's rates changed on the same probes, by language.

    Args:
      before, after: of the experiment's probes, see `read_preferences`.

    Returns:
      `{styles, held_out_styles, held_out_topics, knowledge, languages}`; of each language `{rates:
      {before, after}, differences, traits}`. A difference is after minus before,
      fact by fact, with its p-value.
    """
    languages: dict[str, Any] = {}
    for lang in experiment.languages:
        probes = experiment.suite(lang)
        rates = {
            side: arm_rates(probes, [preferences])
            for side, preferences in (("before", before), ("after", after))
        }
        differences = {
            # One run a side, so that the interval covers other facts and not other seeds.
            name: interval_record(difference(name, probes, [after], [before]), "difference")
            for name in COMPARED
        }
        languages[lang] = {
            "rates": rates,
            "differences": differences,
            "traits": {side: trait(own) for side, own in rates.items()},
        }
    return {
        "styles": [style.name for style in experiment.styles],
        "held_out_styles": [style.name for style in experiment.held_out_styles],
        "held_out_topics": sorted(experiment.split.held_out_topics),
        "labels": {name: RATES[name].label for name in COMPARED},
        "knowledge": {
            lang: {**counted(found), "measured": knows(found)}
            for lang, found in experiment.knowledge.items()
        },
        "languages": languages,
    }
