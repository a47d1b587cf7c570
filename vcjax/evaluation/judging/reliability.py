"""How far the judges of an evaluation agree: with each other, with themselves and with people.

A judge's score of an answer is the mean of its verdicts (`panel`). Kappa takes labels, so that a
mean is rounded to a whole score for it. Answers to the versions of one question in several
languages are alike: intervals are by `parallel_id`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from vcjax.core.seeds import derive_seed
from vcjax.evaluation.judging.panel import SCALE, Record, by_judge, combine
from vcjax.evaluation.judging.people import HUMAN
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.agreement import (
    Form,
    Weights,
    alpha_interval,
    cohen_test,
    fleiss_test,
    icc_interval,
    item_agreement,
    kappa_interval,
    rater_errors,
    spearman_interval,
)
from vcjax.stats.intervals import (
    Interval,
    interval_record,
    mean_interval,
    paired_difference,
    rate_record,
)

LEAST = 3
"""Answers that a coefficient needs."""

_LABELS = tuple(range(LOWEST, HIGHEST + 1))
_DISTANCE = (0.0, SCALE[1] - SCALE[0])
_CONTESTED = 10


def agreement(
    records: Sequence[Record], *, seed: int = 0, confidence: float = 0.95
) -> dict[str, Any] | None:
    """Compares the judges whose score records these are; None with one verdict on each answer.

    Returns (JSON-serialisable; what can't be estimated is None):
      judges, people: the names of all, and of those of the family `human`.
      answers: number of answers that any of them was asked about.
      pairs: of each two judges `{judges, n, same, kappa, kappa_quadratic, z, p, spearman,
        difference, distance}` over the answers that both scored: the rate of equal scores, Cohen's
        kappa without and with quadratic weights, its test against chance, Spearman's rho, the mean
        difference (second minus first, with its own p) and the mean absolute error.
      all: of the answers that all scored `{n, fleiss, z, p, alpha, icc, icc_panel, contested}`:
        Fleiss' kappa, Krippendorff's ordinal alpha (of all answers with two scores), the intraclass
        correlation of a single judge and of the panel's mean, and the ids of the answers on which
        fewest pairs of judges agree.
      errors: of the judges against the mean of the people: `{n, judges, panel, correlation, common,
        effective}`; the first two have `bias`, `distance` and `spearman`, the last three are of
        `vcjax.stats.agreement.rater_errors`. None without people, or without any other judge.
      samples: of each judge that gave several, how far it agrees with itself: `{n, alpha, same}`.
      prompt_languages: of each judge that was asked in both, `{n, difference, same}`: the mean
        difference of its scores, the other language minus the item's.
    """
    if max(Counter(record["id"] for record in records).values(), default=0) < 2:
        return None
    judges = {name: combine(own) for name, own in by_judge(records).items()}
    table = _Table.of(judges)

    def settings(*name: str) -> dict[str, Any]:
        return {"confidence": confidence, "seed": derive_seed(seed, "agreement", *name)}

    people = [name for name, own in judges.items() if own[0]["family"] == HUMAN]
    return {
        "judges": list(judges),
        "people": people,
        "answers": len(table.clusters),
        "pairs": [_pair(table, a, b, settings) for a, b in combinations(judges, 2)],
        "all": _all(table, settings) if len(judges) > 1 else None,
        "errors": _errors(table, people, settings),
        "samples": {
            name: found
            for name, own in by_judge(records).items()
            if (found := _samples(own, settings, name)) is not None
        },
        "prompt_languages": {
            name: found
            for name, own in by_judge(records).items()
            if (found := _prompt_languages(own, settings, name)) is not None
        },
    }


_Settings = Callable[..., dict[str, Any]]  # of an interval, by its name


@dataclass(frozen=True)
class _Table:
    """Scores by judge and answer; NaN where there is none."""

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    scores: dict[str, Float[np.ndarray, " answers"]]

    @classmethod
    def of(cls, judges: dict[str, list[Record]]) -> "_Table":
        clusters = {
            record["id"]: record["parallel_id"] for own in judges.values() for record in own
        }
        rows = {id: number for number, id in enumerate(sorted(clusters))}
        scores = {name: np.full(len(rows), np.nan) for name in judges}
        for name, own in judges.items():
            for record in own:
                if record["score"] is not None:
                    scores[name][rows[record["id"]]] = record["score"]
        return cls(tuple(rows), tuple(clusters[id] for id in rows), scores)

    def both(self, *names: str) -> tuple[Float[np.ndarray, "judges answers"], list[str]]:
        """The scores of the answers that all of `names` scored, and their clusters."""
        table = np.stack([self.scores[name] for name in names])
        scored = np.asarray(~np.isnan(table).any(axis=0))
        return table[:, scored], self.clusters_of(scored)

    def clusters_of(self, chosen: Bool[np.ndarray, " answers"]) -> list[str]:
        return [name for name, wanted in zip(self.clusters, chosen, strict=True) if wanted]


def _pair(table: _Table, first: str, second: str, settings: _Settings) -> Record:
    (a, b), clusters = table.both(first, second)
    name = (first, second)
    same = int((_rounded(a) == _rounded(b)).sum())
    found: Record = {
        "judges": [first, second],
        "n": len(a),
        "same": rate_record(same, len(a), settings()["confidence"]),
        **dict.fromkeys(("kappa", "kappa_quadratic", "z", "p", "spearman")),
        "difference": interval_record(
            paired_difference(a, b, clusters, scale=SCALE, **settings(*name, "difference"))
        ),
        "distance": interval_record(_distance(b - a, clusters, settings(*name, "distance"))),
    }
    if len(a) < LEAST:
        return found
    x, y = (_rounded(side).tolist() for side in (a, b))
    test = cohen_test(x, y, None, _LABELS)
    kappas: tuple[tuple[str, Weights | None], ...] = (
        ("kappa", None),
        ("kappa_quadratic", "quadratic"),
    )
    for key, weights in kappas:
        kappa = kappa_interval(
            x, y, weights, _LABELS, clusters=clusters, resamples=1999, **settings(*name, key)
        )
        found[key] = interval_record(kappa)
    rho = spearman_interval(a, b, clusters=clusters, **settings(*name, "spearman"))
    return {**found, "z": _number(test.z), "p": _number(test.p), "spearman": interval_record(rho)}


def _all(table: _Table, settings: _Settings) -> Record:
    names = list(table.scores)
    whole = np.stack([table.scores[name] for name in names])
    scored, clusters = table.both(*names)
    found: Record = dict.fromkeys(("fleiss", "z", "p", "alpha", "icc", "icc_panel"))
    found = {"n": scored.shape[1], **found, "contested": []}
    if (~np.isnan(whole)).sum(axis=0).max(initial=0) > 1:
        alpha = alpha_interval(
            whole, "ordinal", clusters=table.clusters, resamples=1999, **settings("all", "alpha")
        )
        found["alpha"] = interval_record(alpha)
    if scored.shape[1] < LEAST:
        return found
    counts = (_rounded(scored)[:, :, None] == np.array(_LABELS)).sum(axis=0)
    test = fleiss_test(counts)
    agreed = item_agreement(counts)
    ids = [id for id, each in zip(table.ids, whole.T, strict=True) if not np.isnan(each).any()]
    apart = scored.max(axis=0) - scored.min(axis=0)
    ranked = sorted(range(len(ids)), key=lambda n: (agreed[n], -apart[n], ids[n]))
    forms: tuple[tuple[str, Form], ...] = (("icc", "2,1"), ("icc_panel", "2,k"))
    return {
        **found,
        "fleiss": _number(test.kappa),
        "z": _number(test.z),
        "p": _number(test.p),
        **{
            key: interval_record(
                icc_interval(scored, form, scale=SCALE, clusters=clusters, **settings("all", key))
            )
            for key, form in forms
        },
        "contested": [ids[n] for n in ranked[:_CONTESTED] if apart[n] > 0],
    }


def _errors(table: _Table, people: Sequence[str], settings: _Settings) -> Record | None:
    others = [name for name in table.scores if name not in people]
    if not people or not others:
        return None
    given = np.stack([table.scores[name] for name in people])
    counts = (~np.isnan(given)).sum(axis=0)
    reference = np.divide(
        np.nansum(given, axis=0), counts, out=np.full(len(counts), np.nan), where=counts > 0
    )
    scores = np.stack([table.scores[name] for name in others])

    def against(judged: Float[np.ndarray, " answers"], name: str) -> Record:
        both = ~np.isnan(judged - reference)
        a, b, clusters = reference[both], judged[both], table.clusters_of(both)
        bias = paired_difference(a, b, clusters, scale=SCALE, **settings(name, "bias"))
        rho = Interval(n=len(a))
        if len(a) >= LEAST:
            rho = spearman_interval(a, b, clusters=clusters, **settings(name, "people"))
        return {
            "bias": interval_record(bias),
            "distance": interval_record(_distance(b - a, clusters, settings(name, "error"))),
            "spearman": interval_record(rho),
        }

    alike = rater_errors(scores, reference) if len(others) > 1 else None
    # Answers that a judge left out would be scored by another panel.
    panel = scores.mean(axis=0)
    return {
        "n": int((~np.isnan(panel - reference)).sum()),
        "judges": {name: against(own, name) for name, own in zip(others, scores, strict=True)},
        "panel": against(panel, "panel") if len(others) > 1 else None,
        "correlation": None
        if alike is None
        else [[_number(value) for value in row] for row in alike.correlation.tolist()],
        "common": None if alike is None else _number(alike.common),
        "effective": None if alike is None else _number(alike.effective),
    }


def _samples(records: Sequence[Record], settings: _Settings, name: str) -> Record | None:
    """How far a judge's samples of one verdict agree; each language of the prompt is by itself."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    parallel: dict[tuple[str, str], str] = {}
    for record in records:
        key = (record["id"], record.get("prompt_lang") or record["lang"])
        parallel[key] = record["parallel_id"]
        if record["score"] is not None:
            groups[key].append(record["score"])
    several = {key: scores for key, scores in groups.items() if len(scores) > 1}
    if not several:
        return None
    width = max(map(len, several.values()))
    ratings = np.array([scores + [np.nan] * (width - len(scores)) for scores in several.values()]).T
    clusters = [parallel[key] for key in several]
    alpha = alpha_interval(
        ratings, "ordinal", clusters=clusters, resamples=1999, **settings(name, "samples")
    )
    same = sum(len(set(scores)) == 1 for scores in several.values())
    return {
        "n": len(several),
        "alpha": interval_record(alpha),
        "same": rate_record(same, len(several), settings()["confidence"]),
    }


def _prompt_languages(records: Sequence[Record], settings: _Settings, name: str) -> Record | None:
    sides = [
        {
            record["id"]: record
            for record in combine([each for each in records if _is_other(each) == other])
        }
        for other in (False, True)
    ]
    if not all(sides):
        return None
    ids = [
        id
        for id in sorted(sides[0].keys() & sides[1].keys())
        if None not in (sides[0][id]["score"], sides[1][id]["score"])
    ]
    own, other = ([side[id]["score"] for id in ids] for side in sides)
    difference = paired_difference(
        own,
        other,
        [sides[0][id]["parallel_id"] for id in ids],
        scale=SCALE,
        **settings(name, "prompt"),
    )
    same = sum(a == b for a, b in zip(own, other, strict=True))
    return {
        "n": len(ids),
        "difference": interval_record(difference),
        "same": rate_record(same, len(ids), settings()["confidence"]),
    }


def _is_other(record: Record) -> bool:
    return record.get("prompt_lang") not in (None, record["lang"])


def _distance(
    differences: Float[np.ndarray, " answers"], clusters: list[str], options: dict[str, Any]
) -> Interval:
    """The mean absolute difference."""
    return mean_interval(np.abs(differences), clusters, scale=_DISTANCE, **options)


def _rounded(scores: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Whole scores; a half is rounded up."""
    return np.floor(scores + 0.5).astype(int)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
