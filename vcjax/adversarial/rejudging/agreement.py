"""How far two Critics agree on the same answers: decisions, scores by aspect, and reasons.

The answers to one query are alike, so that the attempts are the units of every interval.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from vcjax.adversarial.rejudging.judged import WHOLE, Decision, JudgedAnswer
from vcjax.core.seeds import derive_seed
from vcjax.roles.verdict import HIGHEST, KINDS, LOWEST
from vcjax.stats.agreement import icc_interval, kappa_interval
from vcjax.stats.intervals import (
    RATE,
    Interval,
    interval_record,
    mean_interval,
    paired_difference,
    rate_record,
)

CONFIDENCE = 0.95
_DECIDED = ("accepted", "rejected")
_SCALE = (float(LOWEST), float(HIGHEST))
_SCORES = list(range(LOWEST, HIGHEST + 1))


class _Pairs:
    """Both decisions on some of the answers, with what every interval of them needs."""

    def __init__(self, answers: Sequence[JudgedAnswer], new: Sequence[Decision], seed: int) -> None:
        self.answers, self.new, self._seed = answers, new, seed

    def where(self, kept: Sequence[bool]) -> "_Pairs":
        chosen = [n for n, each in enumerate(kept) if each]
        answers, new = [self.answers[n] for n in chosen], [self.new[n] for n in chosen]
        return _Pairs(answers, new, self._seed)

    @property
    def both(self) -> list[tuple[Decision, Decision]]:
        """The old Critic's decision and the new one's."""
        return [(each.decision, new) for each, new in zip(self.answers, self.new, strict=True)]

    @property
    def sides(self) -> tuple[list[Decision], list[Decision]]:
        """The old Critic's decisions, and the new one's."""
        return [each.decision for each in self.answers], list(self.new)

    @property
    def decided(self) -> "_Pairs":
        """The pairs in which both accept or reject."""
        return self.where([a.kind in _DECIDED and b.kind in _DECIDED for a, b in self.both])

    def settings(self, name: str) -> dict[str, Any]:
        # The candidates of one attempt answer one query, so they are judged alike.
        clusters = [each.attempt for each in self.answers]
        seed = derive_seed(self._seed, "rejudged", name)
        return {"clusters": clusters, "confidence": CONFIDENCE, "seed": seed}


def compare_critics(
    answers: Sequence[JudgedAnswer], new: Sequence[Decision], *, seed: int = 0
) -> dict[str, Any]:
    """Compares the decisions of a ledger's Critics with those of another one.

    Returns (JSON-serialisable):
      answers, queries: numbers of answers and of the attempts that they are of.
      decisions: how often the ledger's decision (outer) and the new one (inner) come together.
      accepted: of the answers that both decide, the share that each accepts, and the new Critic's
        less the ledger's (`difference`, paired).
      agreement: of these, `same`, the share on which both decide alike, and Cohen's `kappa`;
        `kappa_of_all` is over all answers, with being unscored or blocked as one more label.
      score: of the whole answer, over the answers that both have scored: the `means`, their paired
        `difference`, and the intraclass correlation `icc` (absolute agreement of single scores).
      criteria: the same for each aspect that both forms ask for, with the quadratic `kappa`.
      reasons: how often the ledger's reason (outer) and the new one (inner) come together.
      exported: of the answers that were accepted and are trained on, the share that the new Critic
        accepts, over those that it decides; `undecided` are the others.
      languages: `answers` and `agreement` by language.

    Args:
      new: one decision for each of `answers`.

    Raises:
      ValueError: no answers, or not one decision for each.
    """
    if not answers or len(answers) != len(new):
        raise ValueError(f"{len(answers)} answers, but {len(new)} decisions")
    whole = _Pairs(answers, new, seed)
    kinds, reasons = defaultdict(Counter), defaultdict(Counter)
    for old, other in whole.both:
        kinds[old.kind][other.kind] += 1
        reasons[old.why][other.why] += 1
    exported = whole.where([each.exported for each in answers])
    # Over the answers that it decides: what it leaves open is neither kept nor lost.
    sure = exported.decided
    kept = sum(each.kind == "accepted" for each in sure.new)
    names = dict.fromkeys(name for old, _ in whole.both for name in old.scores)
    return {
        "answers": len(answers),
        "queries": len({each.attempt for each in answers}),
        "confidence": CONFIDENCE,
        "decisions": {kind: {k: kinds[kind][k] for k in KINDS} for kind in KINDS},
        "accepted": _accepted(whole.decided),
        "agreement": _agreement(whole, "all"),
        "score": _scores(whole),
        "criteria": {
            name: found for name in names if name != WHOLE and (found := _scores(whole, name))["n"]
        },
        "reasons": {
            old: dict(found.most_common())
            for old, found in sorted(reasons.items(), key=lambda each: -each[1].total())
        },
        "exported": {
            **rate_record(kept, len(sure.new), CONFIDENCE),
            "undecided": len(exported.new) - len(sure.new),
        },
        "languages": {
            lang: {
                "answers": len(own.answers),
                "agreement": _agreement(own, lang),
            }
            for lang in sorted({each.submission.lang for each in answers})
            for own in [whole.where([each.submission.lang == lang for each in answers])]
        },
    }


def _accepted(pairs: _Pairs) -> dict[str, Any]:
    old, new = (np.array([each.kind == "accepted" for each in side], bool) for side in pairs.sides)
    rates = {
        name: interval_record(mean_interval(side.astype(float), scale=RATE, **pairs.settings(name)))
        for name, side in (("ledger", old), ("new", new))
    }
    change = paired_difference(old, new, **pairs.settings("accepted"))
    return {**rates, "difference": interval_record(change)}


def _agreement(pairs: _Pairs, name: str) -> dict[str, Any]:
    decided = pairs.decided
    old, new = ([each.kind for each in side] for side in decided.sides)
    alike = np.array([a == b for a, b in zip(old, new, strict=True)], float)
    same = mean_interval(alike, scale=RATE, **decided.settings(f"{name}/same"))
    kappa = Interval()
    if old:
        kappa = kappa_interval(old, new, **decided.settings(f"{name}/kappa"))
    every = [
        [each.kind if each.kind in _DECIDED else "undecided" for each in side]
        for side in pairs.sides
    ]
    of_all = kappa_interval(every[0], every[1], **pairs.settings(f"{name}/kappa of all"))
    return {
        "same": interval_record(same),
        "kappa": interval_record(kappa),
        "kappa_of_all": interval_record(of_all),
    }


def _scores(pairs: _Pairs, aspect: str = "") -> dict[str, Any]:
    """The scores of an aspect, or those of the whole answer, which may be between two numbers."""

    def score(each: Decision) -> float | None:
        return each.scores.get(aspect) if aspect else each.score

    known = pairs.where([None not in map(score, both) for both in pairs.both])
    old, new = (np.array([score(each) for each in side], float) for side in known.sides)
    name, n = aspect or WHOLE, len(old)
    change = paired_difference(old, new, scale=_SCALE, **known.settings(f"{name}/difference"))
    correlation = Interval(n=n)
    if n > 1:
        settings = known.settings(f"{name}/icc")
        correlation = icc_interval([old.tolist(), new.tolist()], scale=_SCALE, **settings)
    found: dict[str, Any] = {
        "n": n,
        "means": [float(old.mean()), float(new.mean())] if n else [None, None],
        "difference": interval_record(change),
        "icc": interval_record(correlation),
    }
    if aspect:
        kappa = Interval()
        # Quadratic weights: scores have an order, and 4 for 5 isn't as wrong as 0 for 5.
        if n:
            labels = [side.astype(int).tolist() for side in (old, new)]
            settings = known.settings(f"{name}/kappa")
            kappa = kappa_interval(labels[0], labels[1], "quadratic", _SCORES, **settings)
        found["kappa"] = interval_record(kappa)
    return found
