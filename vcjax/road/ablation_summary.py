"""The summary of an ablation: rates of success, differences, perplexity, and sample answers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from vcjax.adversarial.diversity import distinct
from vcjax.charter.schema import Charter
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.run import SUMMARY
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.run import read_scores
from vcjax.road.ablation_arms import DOCUMENTS, MEASURED, ArmRun
from vcjax.road.ablation_config import ATTACKS, AblationConfig, Arm
from vcjax.road.ablation_data import (
    GROUPS,
    HELD_OUT,
    SCORES,
    QueryCell,
    count_records,
    read_query_cells,
    read_questions,
)
from vcjax.stats.intervals import RATE, crossed_mean, interval_record, rate_record
from vcjax.text.units import units

CONFIDENCE = 0.95
ANY = "any rule"
"""An attack's success: the answer breaks a rule that selects."""


@dataclass(frozen=True)
class ArmResult:
    """What an arm's checkpoints did, run by run.

    Attributes:
      broken: by group and rule, whether the answer to a query breaks it; under ANY, whether it
        breaks one that selects.
      loss: of each document, in nats a token.
      perplexity: of all documents together, of each run.
      answers: of each run, by the id of the query.
    """

    broken: dict[str, dict[str, Bool[np.ndarray, "runs queries"]]]
    loss: Float[np.ndarray, "runs documents"]
    perplexity: tuple[float, ...]
    answers: tuple[dict[str, dict[str, Any]], ...]


def read_results(
    arm: Sequence[ArmRun], cells: Mapping[str, QueryCell], charter: Charter
) -> ArmResult:
    """Reads what the runs of one arm have written."""
    checks_of_runs = [_checks(run.folder / MEASURED) for run in arm]
    broken: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        ids = sorted(id for id, cell in cells.items() if cell.group == group)
        table = {
            rule: np.array(
                [[_breaks(checks[id], rule) for id in ids] for checks in checks_of_runs], bool
            )
            for rule in charter_rules(charter)
        }
        # Rules that are only measured never chose training data, so that a model can't have learned
        # to please them; they don't count as the success of an attack.
        selecting = np.array([table[rule] for rule in charter_rules(charter, measured=False)])
        broken[group] = {ANY: selecting.any(axis=0), **table}
    scores = [read_json(run.folder / DOCUMENTS / SCORES) for run in arm]
    totals = [[sum(each[name] for each in run) for name in ("nats", "tokens")] for run in scores]
    return ArmResult(
        broken,
        np.array([[each["nats"] / each["tokens"] for each in run] for run in scores]),
        tuple(math.exp(nats / tokens) for nats, tokens in totals),
        tuple(_answers(run.folder / MEASURED) for run in arm),
    )


def charter_rules(charter: Charter, *, measured: bool = True) -> list[str]:
    """The keys of the charter's checks, with `measured` also of those that never select."""
    return [
        f"{principle.id}/{use.name}"
        for principle in charter.principles
        if measured or not principle.measure_only
        for use in principle.checks
    ]


def summarise(
    config: AblationConfig,
    charter: Charter,
    *,
    family: str,
    arms: Mapping[str, Sequence[ArmRun]],
    results: Mapping[str, ArmResult],
    cells: Mapping[str, QueryCell],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The content of `summary.json`.

    Args:
      arms: the runs of each arm, by its name; `results` likewise.
      cells: of the queries that were measured with.
      seconds: of each stage, by its name.
    """
    measured_only = set(charter_rules(charter)) - set(charter_rules(charter, measured=False))
    return {
        "model": {"reference": config.model, "family": family},
        "charter": {
            "name": charter.name,
            "version": charter.version,
            "hash": charter.content_hash,
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
        "arms": {
            arm.name: {
                **_arm_record(config, arm, arms[arm.name], results[arm.name]),
                "seconds": _mean_seconds(arms[arm.name], seconds),
            }
            for arm in config.arms
        },
        "differences": [_difference_record(config, names, results) for names in _contrasts(config)],
        "seconds": seconds,
    }


def samples(
    config: AblationConfig, results: Mapping[str, ArmResult], queries: Path
) -> list[dict[str, Any]]:
    """Held-out queries, drawn by the seed, with what each arm's first run answered and broke.

    Args:
      queries: the folder of the queries.
    """
    cells, texts = read_query_cells(queries), read_questions(queries)
    held_out = sorted(id for id, cell in cells.items() if cell.group == HELD_OUT)
    drawn = sorted(held_out, key=lambda id: derive_seed(config.seed, "sample", id))
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
                        for rule, broken in result.broken[HELD_OUT].items()
                        if rule != ANY and broken[0][held_out.index(id)]
                    ],
                }
                for name, result in results.items()
            },
        }
        for id in drawn[: config.samples]
    ]


def _arm_record(
    config: AblationConfig, arm: Arm, runs: Sequence[ArmRun], result: ArmResult
) -> dict[str, Any]:
    """Rates have an exact interval; of several runs that of `crossed_mean`, where it is wider."""
    return {
        "data": arm.data,
        **{name: getattr(arm, name) for name in ("like", "after") if getattr(arm, name)},
        "rounds": config.rounds_of(arm),
        "runs": [_run_record(run) for run in runs],
        "broken": {
            group: {
                rule: _rate(values, derive_seed(config.seed, arm.name, group, rule))
                for rule, values in rules.items()
            }
            for group, rules in result.broken.items()
        },
        "perplexity": sum(result.perplexity) / len(result.perplexity),
        "perplexities": list(result.perplexity),
        "answers": _form(config, result),
    }


def _difference_record(
    config: AblationConfig, names: tuple[str, str], results: Mapping[str, ArmResult]
) -> dict[str, Any]:
    """The first arm less the second, query by query, by group and rule, and document by document.

    `runs` has the differences of the single seeds.
    """
    first, second = (results[name] for name in names)

    def differ(one: Any, other: Any, *name: str) -> dict[str, Any]:
        change = np.asarray(one, float) - np.asarray(other, float)
        interval = crossed_mean(
            change,
            scale=None if name == ("loss",) else (-1.0, 1.0),
            null=0.0,
            confidence=CONFIDENCE,
            seed=derive_seed(config.seed, *names, *name),
        )
        record = interval_record(interval, "difference")
        return {**record, "runs": change.mean(axis=1).tolist()}

    return {
        "arms": list(names),
        "broken": {
            group: {
                rule: differ(values, second.broken[group][rule], group, rule)
                for rule, values in rules.items()
            }
            for group, rules in first.broken.items()
        },
        "loss": differ(first.loss, second.loss, "loss"),
    }


def _contrasts(config: AblationConfig) -> list[tuple[str, str]]:
    """The pairs of arms that are compared: each arm with the base model, then each that has data
    like another one with that one."""
    base = config.base.name
    return [
        *((arm.name, base) for arm in config.arms if arm.name != base),
        *((arm.like, arm.name) for arm in config.arms if arm.like),
    ]


def _rate(broken: Bool[np.ndarray, "runs queries"], seed: int) -> dict[str, Any]:
    runs, queries = broken.shape
    count = int(broken.sum())
    # As if one run had asked: answers of several to one query are alike.
    record = rate_record(round(count / runs), queries, CONFIDENCE)
    if runs == 1 or not queries:
        return record
    crossed = crossed_mean(broken.astype(float), scale=RATE, confidence=CONFIDENCE, seed=seed)
    assert crossed.low is not None
    assert crossed.high is not None
    return {
        **{"k": count, "n": runs * queries, "rate": crossed.value},
        **{"low": min(crossed.low, record["low"]), "high": max(crossed.high, record["high"])},
    }


def _run_record(run: ArmRun) -> dict[str, Any]:
    rounds = []
    for round in range(1, run.rounds + 1):
        trained = read_json(run.train_folder(round) / SUMMARY)
        record: dict[str, Any] = {"pairs": count_records(run.pairs(round))}
        record |= {name: trained[name] for name in ("steps", "tokens", "loss_tokens", "last_loss")}
        if run.arm.data == ATTACKS:
            synthesis = read_json(run.data_folder(round) / SUMMARY)
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


def _breaks(checks: Mapping[str, bool], rule: str) -> bool:
    """A rule that is for other subdomains isn't broken."""
    return not checks.get(rule, True)


def _checks(folder: Path) -> dict[str, dict[str, bool]]:
    return {score["id"]: score["checks"] for score in read_scores(folder)}


def _answers(folder: Path) -> dict[str, dict[str, Any]]:
    return {answer["id"]: answer for _, answer in read_jsonl(folder / "answers.jsonl")}


def _queries(cells: Mapping[str, QueryCell], group: str) -> dict[str, Any]:
    own = [cell for cell in cells.values() if cell.group == group]
    return {
        "n": len(own),
        "attacks": sorted({cell.attack for cell in own}),
        "subdomains": sorted({cell.subdomain for cell in own}),
        "topics": sorted({cell.topic for cell in own}),
    }


def _mean_seconds(runs: Sequence[ArmRun], seconds: Mapping[str, float]) -> float:
    """Of one run of an arm, on average; what another arm made for it isn't counted."""
    return sum(seconds[stage.name] for run in runs for stage in run.stages()) / len(runs)
