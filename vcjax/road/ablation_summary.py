"""The summary of an ablation, and the answers that its report shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcjax.charter.schema import Charter
from vcjax.core.seeds import derive_seed
from vcjax.road.ablation_arms import Chain
from vcjax.road.ablation_config import AblationConfig
from vcjax.road.ablation_outcome import (
    ANY,
    CONFIDENCE,
    Outcome,
    arm_record,
    contrasts,
    difference_record,
    rules,
)
from vcjax.road.ablation_queries import GROUPS, HELD_OUT, Place, read_places, read_questions


def summarise(
    config: AblationConfig,
    charter: Charter,
    family: str,
    chains: Mapping[str, Sequence[Chain]],
    outcomes: Mapping[str, Outcome],
    places: Mapping[str, Place],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What `summary.json` says, ready for JSON.

    Args:
      chains, outcomes: of each arm, by its name.
      places: of the queries that were measured with.
      seconds: of each stage, by its name.
    """
    about = {"name": charter.name, "version": charter.version, "hash": charter.content_hash}
    never = set(rules(charter)) - set(rules(charter, measured=False))
    return {
        "model": {"reference": config.model, "family": family},
        "charter": about,
        "language": config.language,
        "seed": config.seed,
        "seeds": config.seeds,
        "confidence": CONFIDENCE,
        "base": config.base.name,
        "any_rule": ANY,
        "measured_rules": sorted(never),
        "queries": {group: _queries(places, group) for group in GROUPS},
        "documents": int(outcomes[config.base.name].loss.shape[1]),
        "arms": {
            arm.name: {
                **arm_record(config, arm, chains[arm.name], outcomes[arm.name]),
                "seconds": _seconds(chains[arm.name], seconds),
            }
            for arm in config.arms
        },
        "differences": [difference_record(config, names, outcomes) for names in contrasts(config)],
        "seconds": seconds,
    }


def samples(
    config: AblationConfig, outcomes: Mapping[str, Outcome], queries: Path
) -> list[dict[str, Any]]:
    """Held-out queries, drawn by the seed, with what each arm's first run answered and broke.

    Args:
      queries: the folder of the queries.
    """
    places, texts = read_places(queries), read_questions(queries)
    held_out = sorted(id for id, place in places.items() if place.group == HELD_OUT)
    drawn = sorted(held_out, key=lambda id: derive_seed(config.seed, "sample", id))
    return [
        {
            "id": id,
            "lang": config.language,
            "domain": places[id].subdomain,
            "attack": places[id].attack,
            "question": texts[id],
            "answers": {
                name: {
                    "text": outcome.answers[0][id]["answer"],
                    "broken": [
                        rule
                        for rule, broken in outcome.broken[HELD_OUT].items()
                        if rule != ANY and broken[0][held_out.index(id)]
                    ],
                }
                for name, outcome in outcomes.items()
            },
        }
        for id in drawn[: config.samples]
    ]


def _queries(places: Mapping[str, Place], group: str) -> dict[str, Any]:
    own = [place for place in places.values() if place.group == group]
    return {
        "n": len(own),
        "attacks": sorted({place.attack for place in own}),
        "subdomains": sorted({place.subdomain for place in own}),
        "topics": sorted({place.topic for place in own}),
    }


def _seconds(chains: Sequence[Chain], seconds: Mapping[str, float]) -> float:
    """Of one run of an arm, on average; what another arm made for it isn't counted."""
    return sum(seconds[stage.name] for chain in chains for stage in chain.stages()) / len(chains)
