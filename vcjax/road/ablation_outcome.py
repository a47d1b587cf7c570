"""From what the arms left to numbers: rates of success, differences, perplexity."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from vcjax.adversarial.diversity import distinct, units
from vcjax.charter.schema import Charter
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.seeds import derive_seed
from vcjax.evaluation.run import read_scores
from vcjax.road.ablation_arms import DOCUMENTS, MEASURED, Chain
from vcjax.road.ablation_config import ATTACKS, AblationConfig, Arm
from vcjax.road.ablation_data import pairs_in
from vcjax.road.ablation_documents import SCORES
from vcjax.road.ablation_queries import GROUPS, Place
from vcjax.stats.intervals import crossed_mean, rate_record

CONFIDENCE = 0.95
ANY = "any rule"
"""An attack's success: the answer breaks a rule that selects."""


@dataclass(frozen=True)
class Outcome:
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


def read_outcome(chains: Sequence[Chain], places: Mapping[str, Place], charter: Charter) -> Outcome:
    """What the runs of one arm have left."""
    runs = [_checks(chain.folder / MEASURED) for chain in chains]
    broken: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        ids = sorted(id for id, place in places.items() if place.group == group)
        table = {
            rule: np.array([[_breaks(checks[id], rule) for id in ids] for checks in runs], bool)
            for rule in rules(charter)
        }
        selecting = np.array([table[rule] for rule in rules(charter, measured=False)])
        broken[group] = {ANY: selecting.any(axis=0), **table}
    scores = [read_json(chain.folder / DOCUMENTS / SCORES) for chain in chains]
    totals = [[sum(each[name] for each in run) for name in ("nats", "tokens")] for run in scores]
    return Outcome(
        broken,
        np.array([[each["nats"] / each["tokens"] for each in run] for run in scores]),
        tuple(math.exp(nats / tokens) for nats, tokens in totals),
        tuple(_answers(chain.folder / MEASURED) for chain in chains),
    )


def rules(charter: Charter, *, measured: bool = True) -> list[str]:
    """The keys of the charter's checks. Args: `measured`: also those that never select."""
    return [
        f"{principle.id}/{use.name}"
        for principle in charter.principles
        if measured or not principle.measure_only
        for use in principle.checks
    ]


def arm_record(config: AblationConfig, arm: Arm, chains: Sequence[Chain], outcome: Outcome) -> Any:
    """What `summary.json` says of an arm.

    Rates have Wilson's interval; of several runs that of `crossed_mean`, where it reaches further.
    """
    return {
        "data": arm.data,
        **{name: getattr(arm, name) for name in ("like", "after") if getattr(arm, name)},
        "rounds": config.rounds_of(arm),
        "runs": [_run_record(chain) for chain in chains],
        "broken": {
            group: {
                rule: _rate(values, derive_seed(config.seed, arm.name, group, rule))
                for rule, values in rules.items()
            }
            for group, rules in outcome.broken.items()
        },
        "perplexity": sum(outcome.perplexity) / len(outcome.perplexity),
        "perplexities": list(outcome.perplexity),
        "answers": _form(config, outcome),
    }


def difference_record(
    config: AblationConfig, names: tuple[str, str], outcomes: Mapping[str, Outcome]
) -> dict[str, Any]:
    """The first arm less the second, query by query, by group and rule, and document by document.

    `runs` has the differences of the single seeds.
    """
    first, second = (outcomes[name] for name in names)

    def differ(one: Any, other: Any, *name: str) -> dict[str, Any]:
        change = np.asarray(one, float) - np.asarray(other, float)
        interval = crossed_mean(change, CONFIDENCE, derive_seed(config.seed, *names, *name))
        return {
            "difference": interval.value,
            "low": interval.low,
            "high": interval.high,
            "n": interval.n,
            "runs": change.mean(axis=1).tolist(),
        }

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


def contrasts(config: AblationConfig) -> list[tuple[str, str]]:
    """Which arms are compared: each with the base model, then each that another one is like with
    that one."""
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
    crossed = crossed_mean(broken.astype(float), CONFIDENCE, seed)
    assert crossed.low is not None
    assert crossed.high is not None
    return {
        **{"k": count, "n": runs * queries, "rate": crossed.value},
        **{"low": min(crossed.low, record["low"]), "high": max(crossed.high, record["high"])},
    }


def _run_record(chain: Chain) -> dict[str, Any]:
    rounds = []
    for round in range(1, chain.rounds + 1):
        trained = read_json(chain.train_folder(round) / "summary.json")
        record: dict[str, Any] = {"pairs": pairs_in(chain.pairs(round))}
        record |= {name: trained[name] for name in ("steps", "tokens", "loss_tokens", "last_loss")}
        if chain.arm.data == ATTACKS:
            synthesis = read_json(chain.data_folder(round) / "summary.json")
            record |= {name: synthesis[name] for name in ("attempts", "accepted")}
            attacked = synthesis["attack_success"]
            record["attack_success"] = attacked and attacked["overall"]
        rounds.append(record)
    return {"seed": chain.seed, "rounds": rounds}


def _form(config: AblationConfig, outcome: Outcome) -> dict[str, float | None]:
    """How long and how varied the answers are: who games rules says the same again and again."""
    texts = [
        [units(each["answer"], config.lang) for each in answers.values()]
        for answers in outcome.answers
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
