"""How far annotators agree, as a review grows."""

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from vcjax.core.files import write_json
from vcjax.review.session import Session
from vcjax.review.units import Unit
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.agreement import alpha_interval, kappa_interval
from vcjax.stats.intervals import interval_record

_SCORES = range(LOWEST, HIGHEST + 1)
_PREFERENCES = (-1, 0, 1)

Given = Mapping[str, Mapping[str, int]]
"""Scores by annotator and by what was scored."""


class Summary:
    """`summary.json`, which follows a session. Safe to use from many threads."""

    def __init__(self, session: Session, path: Path) -> None:
        self._session, self._path = session, path
        self._lock = threading.Lock()
        self._events, self._current = -1, {}

    def current(self) -> dict[str, Any]:
        """The summary of all actions so far; the file has it as well."""
        # Intervals take a moment, during which others score: of those who wait for the lock, one
        # computes for all.
        with self._lock:
            # The number is read before the scores are: what comes in between may be in them, and is
            # computed once more.
            if (events := self._session.events) != self._events:
                self._current, self._events = summarise(self._session), events
                write_json(self._path, self._current)
            return self._current


def summarise(session: Session, confidence: float = 0.95) -> dict[str, Any]:
    """What a review has so far.

    Returns (JSON-serialisable):
      units, answers: number of those to score; `counts` as in `Material`.
      annotators: by name, `{scored, skipped, left, mean}`; the first three count units.
      agreement: `scores`, and of pairs `preferences`: what `agreement` returns.
    """
    scores, units = session.scores(), session.material.units
    annotators = {}
    # Those who had acted when the scores were read: others may come while this is computed.
    for name, given in scores.items():
        view = session.view(name)
        annotators[name] = {
            "scored": view.scored,
            "skipped": view.skipped,
            "left": view.total - view.scored - view.skipped,
            "mean": sum(given.values()) / len(given) if given else None,
        }
    found = {"scores": agreement(scores, ordered=True, confidence=confidence)}
    if session.material.are_pairs:
        chosen = preferences(scores, units)
        found["preferences"] = agreement(chosen, ordered=False, confidence=confidence)
    return {
        "units": len(units),
        "answers": sum(len(unit.answers) for unit in units),
        "counts": dict(session.material.counts),
        "annotators": annotators,
        "agreement": found,
    }


def agreement(given: Given, *, ordered: bool, confidence: float) -> dict[str, Any]:
    """How far annotators agree on what at least two of them have scored.

    Returns:
      n: number of those.
      alpha: Krippendorff's, ordinal for scores, else nominal: `{value, low, high, n}`.
      pairs: for each two annotators with anything in common, `{annotators, n, same, kappa}`, and of
        scores `kappa_quadratic` and `mean_absolute_difference`. `same` is the share of equal ones;
        a kappa is Cohen's, with its interval.
    """
    times = Counter(code for scores in given.values() for code in scores)
    shared = sorted(code for code, number in times.items() if number > 1)
    found: dict[str, Any] = {"n": len(shared), "alpha": None, "pairs": []}
    if not shared:
        return found
    # Alpha is of all annotators at once and takes NaN as missing. A kappa is of two, over what both
    # scored, so that each pair has an n of its own.
    ratings = np.asarray([[s.get(code, np.nan) for code in shared] for s in given.values()], float)
    level = "ordinal" if ordered else "nominal"
    found["alpha"] = interval_record(alpha_interval(ratings, level, confidence=confidence))
    for a, b in combinations(given, 2):
        common = [code for code in shared if code in given[a] and code in given[b]]
        if common:
            pair = [given[a][code] for code in common], [given[b][code] for code in common]
            found["pairs"].append({"annotators": [a, b], **_pair(*pair, ordered, confidence)})
    return found


def _pair(a: list[int], b: list[int], ordered: bool, confidence: float) -> dict[str, Any]:
    # All that can be given, used or not: quadratic weights go by the distance of two labels in this
    # list.
    labels = list(_SCORES if ordered else _PREFERENCES)
    apart = np.abs(np.subtract(a, b))

    def kappa(weights: Any = None) -> dict[str, Any]:
        return interval_record(kappa_interval(a, b, weights, labels, confidence=confidence))

    found = {"n": len(a), "same": float(np.mean(apart == 0)), "kappa": kappa()}
    if ordered:
        found["kappa_quadratic"] = kappa("quadratic")
        found["mean_absolute_difference"] = float(apart.mean())
    return found


def preferences(
    scores: Mapping[str, Mapping[str, int]], units: Collection[Unit]
) -> dict[str, dict[str, int]]:
    """By annotator and code of a pair: 1 where the first evaluation's answer got the higher score,
    -1 where the second's did, 0 for a tie."""
    chosen: dict[str, dict[str, int]] = defaultdict(dict)
    # Two equal answers are shown as one, and nobody has preferred either of them.
    for unit in (each for each in units if len(each.answers) == 2):
        first, second = (answer.code for answer in unit.answers)
        for name, given in scores.items():
            if first in given and second in given:
                difference = given[first] - given[second]
                chosen[name][unit.code] = (difference > 0) - (difference < 0)
    return dict(chosen)
