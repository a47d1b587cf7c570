"""The summary of an ablation: how often rules are broken, differences, perplexity, and samples.

Queries on one topic are alike, so that topics are the units of every interval of rates; see
`vcjax.stats.intervals.crossed_mean`.
"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from vcjax.adversarial.diversity import distinct
from vcjax.charter.schema import Charter
from vcjax.core.files import read_json
from vcjax.core.run import SUMMARY
from vcjax.core.seeds import derive_seed
from vcjax.road.ablation.arms import ArmRun
from vcjax.road.ablation.config import AblationConfig, Arm
from vcjax.road.ablation.contrasts import CONFIDENCE, Topics, compare
from vcjax.road.ablation.data import count_records
from vcjax.road.ablation.queries import (
    CLEAN,
    GROUPS,
    HELD_OUT,
    QueryCell,
    query_ids,
    read_query_cells,
    read_questions,
)
from vcjax.road.ablation.results import ANY, ArmResult, charter_rules
from vcjax.stats.intervals import RATE, crossed_mean
from vcjax.text.units import units


def summarise(
    config: AblationConfig,
    charter: Charter,
    *,
    family: str,
    arms: Mapping[str, Sequence[ArmRun]],
    results: Mapping[str, ArmResult],
    cells: Mapping[str, QueryCell],
    left_out: Sequence[str],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
      arms: the runs of each arm, by its name; `results` likewise.
      cells: of the queries that were measured with.
      left_out: the ids of documents that an arm was trained on in part.
      seconds: of each stage, by its name.
    """
    topics = {group: [cells[id].cluster for id in query_ids(cells, group)] for group in GROUPS}
    measured_only = set(charter_rules(charter)) - set(charter_rules(charter, measured=False))
    return {
        "model": {"reference": config.model, "family": family},
        "charter": {
            "name": charter.name,
            "version": charter.version,
            "hash": charter.content_hash,
            "domains": {each.id: dict(each.name) for each in charter.subdomains()},
        },
        "language": config.language,
        "seed": config.seed,
        "seeds": config.seeds,
        "confidence": CONFIDENCE,
        "base": config.base.name,
        "any_rule": ANY,
        "measured_rules": sorted(measured_only),
        "queries": {group: _queries(cells, group) for group in GROUPS},
        "documents": int(results[config.base.name].loss.shape[1]),
        "documents_left_out": list(left_out),
        "arms": {
            arm.name: {
                **_arm_record(config, arm, arms[arm.name], results[arm.name], topics),
                "seconds": _mean_seconds(arms[arm.name], seconds),
            }
            for arm in config.arms
        },
        "differences": compare(config, results, topics),
        "seconds": seconds,
    }


def samples(
    config: AblationConfig, results: Mapping[str, ArmResult], queries: Path
) -> list[dict[str, Any]]:
    """Held-out queries, drawn by the seed, with what each arm's first run answered and broke; a
    quarter of them are plain questions.

    Args:
      queries: the folder of the queries.
    """
    cells, texts = read_query_cells(queries), read_questions(queries)
    # Some are plain: a model that has learned to refuse or to lecture shows it there.
    plain = config.samples // 4
    drawn = []
    for group, wanted in ((HELD_OUT, config.samples - plain), (CLEAN, plain)):
        ids = query_ids(cells, group)
        order = sorted(ids, key=lambda id: derive_seed(config.seed, "sample", id))
        drawn += [(id, group, ids.index(id)) for id in order[:wanted]]
    return [
        {
            "id": id,
            "lang": config.language,
            "domain": cells[id].subdomain,
            "attack": cells[id].attack,
            "question": texts[id],
            "answers": {
                name: {
                    "text": result.answers[0][id]["answer"],
                    "broken": [
                        rule
                        for rule, broken in result.broken[group].items()
                        if rule != ANY and broken[0][index]
                    ],
                }
                for name, result in results.items()
            },
        }
        for id, group, index in drawn
    ]


def _arm_record(
    config: AblationConfig,
    arm: Arm,
    runs: Sequence[ArmRun],
    result: ArmResult,
    topics: Topics,
) -> dict[str, Any]:
    known = [value for value in result.perplexity if value is not None]
    return {
        "data": arm.data,
        "persona": arm.persona,
        **{name: getattr(arm, name) for name in ("like", "after") if getattr(arm, name)},
        "rounds": config.rounds_of(arm),
        "runs": [_run_record(run) for run in runs],
        "broken": {
            group: {
                rule: _rate(values, topics[group], derive_seed(config.seed, arm.name, group, rule))
                for rule, values in rules.items()
            }
            for group, rules in result.broken.items()
        },
        "perplexity": sum(known) / len(known) if known else None,
        "perplexities": list(result.perplexity),
        "answers": _form(config, result),
    }


def _rate(
    broken: Bool[np.ndarray, "runs queries"], topics: Sequence[Hashable], seed: int
) -> dict[str, Any]:
    values = broken.astype(float)
    interval = crossed_mean(values, topics, scale=RATE, confidence=CONFIDENCE, seed=seed)
    return {
        **{"k": int(broken.sum()), "n": broken.size, "topics": len(set(topics))},
        **{"rate": interval.value, "low": interval.low, "high": interval.high},
    }


def _run_record(run: ArmRun) -> dict[str, Any]:
    rounds = []
    for round in range(1, run.rounds + 1):
        trained = read_json(run.train_folder(round) / SUMMARY)
        record: dict[str, Any] = {"pairs": count_records(run.pairs(round))}
        record |= {name: trained[name] for name in ("steps", "tokens", "loss_tokens", "last_loss")}
        if (folder := run.synthesis_folder(round)) is not None:
            synthesis = read_json(folder / SUMMARY)
            record |= {name: synthesis[name] for name in ("attempts", "accepted")}
            attacked = synthesis["attack_success"]
            record["attack_success"] = attacked and attacked["overall"]
        rounds.append(record)
    return {"seed": run.seed, "rounds": rounds}


def _form(config: AblationConfig, result: ArmResult) -> dict[str, float | None]:
    """How long and how varied the answers are: a model that games rules repeats itself."""
    texts = [
        [units(each["answer"], config.lang) for each in answers.values()]
        for answers in result.answers
    ]
    words = [len(text) for run in texts for text in run]
    varied = [value for run in texts if (value := distinct(run, 3)) is not None]
    return {
        "words": sum(words) / len(words),
        "distinct_3": sum(varied) / len(varied) if varied else None,
    }


def _queries(cells: Mapping[str, QueryCell], group: str) -> dict[str, Any]:
    own = [cell for cell in cells.values() if cell.group == group]
    return {
        "n": len(own),
        "attacks": sorted({cell.attack for cell in own}),
        "subdomains": sorted({cell.subdomain for cell in own}),
        "topics": sorted({cell.topic for cell in own}),
    }


def _mean_seconds(runs: Sequence[ArmRun], seconds: Mapping[str, float]) -> float:
    """The mean time of an arm's run; what another arm made for it isn't counted."""
    return sum(seconds[stage.name] for run in runs for stage in run.stages()) / len(runs)
