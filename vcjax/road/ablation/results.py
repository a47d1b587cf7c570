"""What the arms' checkpoints did, as arrays: rules that answers broke, and the loss of text."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from vcjax.charter.schema import Charter
from vcjax.core.files import read_json, read_jsonl
from vcjax.evaluation.run import read_scores
from vcjax.road.ablation.arms import DOCUMENTS, MEASURED, ArmRun
from vcjax.road.ablation.documents import SCORES
from vcjax.road.ablation.queries import GROUPS, QueryCell, query_ids

ANY = "any rule"
"""Whether an answer breaks a rule that selects: where it was attacked, the attack's success."""


@dataclass(frozen=True)
class ArmResult:
    """What an arm's checkpoints did, run by run.

    Attributes:
      broken: by group and rule, whether the answer to a query breaks it; under ANY, whether it
        breaks one that selects.
      loss: of each document that no arm was trained on, in nats a token.
      perplexity: of all these documents together, of each run; None where there are none.
      answers: of each run, by the id of the query.
    """

    broken: dict[str, dict[str, Bool[np.ndarray, "runs queries"]]]
    loss: Float[np.ndarray, "runs documents"]
    perplexity: tuple[float | None, ...]
    answers: tuple[dict[str, dict[str, Any]], ...]


def read_results(
    arm: Sequence[ArmRun],
    cells: Mapping[str, QueryCell],
    charter: Charter,
    left_out: Collection[str],
) -> ArmResult:
    """Reads what the runs of one arm have written. Args: `left_out` are ids of documents."""
    checks_of_runs = [_checks(run.folder / MEASURED) for run in arm]
    broken: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        ids = query_ids(cells, group)
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
    scores = [
        [each for each in read_json(run.folder / DOCUMENTS / SCORES) if each["id"] not in left_out]
        for run in arm
    ]
    return ArmResult(
        broken,
        np.array([[each["nats"] / each["tokens"] for each in run] for run in scores]),
        tuple(_perplexity(run) for run in scores),
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


def _perplexity(scores: Sequence[Mapping[str, Any]]) -> float | None:
    """The perplexity of documents together."""
    if not scores:
        return None
    # Over all tokens, as perplexity is defined: a mean over documents would favour short ones.
    return math.exp(sum(each["nats"] for each in scores) / sum(each["tokens"] for each in scores))


def _breaks(checks: Mapping[str, bool], rule: str) -> bool:
    """A rule that is for other subdomains isn't broken."""
    return not checks.get(rule, True)


def _checks(folder: Path) -> dict[str, dict[str, bool]]:
    return {score["id"]: score["checks"] for score in read_scores(folder)}


def _answers(folder: Path) -> dict[str, dict[str, Any]]:
    return {answer["id"]: answer for _, answer in read_jsonl(folder / "answers.jsonl")}
