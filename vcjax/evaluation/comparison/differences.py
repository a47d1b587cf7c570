"""Two runs question by question: paired differences with intervals and effect sizes."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.roles.verdict import HIGHEST, LOWEST
from vcjax.stats.effects import odds_ratio, standardised_difference
from vcjax.stats.intervals import Interval, Scale, Values, interval_record, paired_difference
from vcjax.stats.paired import discordant, sign_flip_test

Record = dict[str, Any]
Records = list[Record]
"""Pairs of score records, sorted by id so that their order doesn't change a number."""

SCALE: Scale = (float(LOWEST), float(HIGHEST))
ALL = "all"
"""Stands for all languages together."""
LEAST_CLUSTERS = 10
"""Domains below which they are too few to tell how much they differ."""


def compare(
    before: Sequence[Record],
    after: Sequence[Record],
    *,
    held_out: Collection[str] = (),
    scale: Scale | None = SCALE,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Compares the score records of two runs of one benchmark, question by question.

    Returns, under `languages`, `held_out` and `trained`, by language:
      judge: the difference of the judge's scores (after - before) over the questions that are
        scored on both sides. `unpaired` counts the others; `unscored_against` and `unscored_for`
        bound the difference by giving each missing score the end of the scale that is worst, and
        best, for the later run. `standardised` is the difference in standard deviations of the
        pairs.
      all_checks: the difference of the rates at which every check was passed; `gained` and `lost`
        count the questions that changed, and `odds_ratio` is `{ratio, low, high, n}` of these.
      checks: the same by check.
    Under `all` the same of all languages together, and under `domains` by domain, then language or
    `all`, without `checks`.

    A difference is `{before, after, difference, low, high, n, p, clusters}`, of
    `paired_difference`; `p` isn't corrected for the number of comparisons, and absent where there
    was nothing to test. Questions of one domain, and the versions of one question in several
    languages, are alike: `clusters` names which of the two are the units, `domain` where there are
    at least LEAST_CLUSTERS of them and `question` elsewhere.

    Args:
      held_out: domains that are kept out of training.
      scale: the ends of the judge's scale; None where it has none.

    Raises:
      UserError: the two have other questions, another judge or another charter's checks.
    """
    pairs = paired(before, after)

    def differ(members: Records, *name: str, checks: bool = True) -> Record:
        own_seed = derive_seed(seed, "compare", *name)
        return _differences(members, scale, own_seed, confidence, checks)

    # Single checks are too many to be read, of too few questions each.
    differ_in_domain = partial(differ, checks=False)
    groups = {
        "languages": pairs,
        "held_out": [pair for pair in pairs if pair["domain"] in held_out],
        "trained": [pair for pair in pairs if pair["domain"] not in held_out],
    }
    domains = {
        domain: {
            ALL: differ_in_domain(members, ALL, domain),
            **_each(members, domain, differ_in_domain),
        }
        for domain, members in split(pairs, "domain").items()
    }
    return {
        **{group: _each(members, group, differ) for group, members in groups.items()},
        ALL: differ(pairs, ALL),
        "domains": domains,
    }


def difference_record(
    before: Sequence[float], after: Sequence[float], change: Interval
) -> dict[str, Any]:
    """`{before, after, difference, low, high, n, p}` of a paired difference, with both means."""

    def mean(values: Sequence[float]) -> float | None:
        return sum(values) / len(values) if len(values) else None

    sides = {"before": mean(before), "after": mean(after)}
    return {**sides, **interval_record(change, "difference")}


def difference_test(
    before: Values,
    after: Values,
    *,
    clusters: Sequence[str] | None = None,
    scale: Scale,
    confidence: float,
    seed: int,
) -> Record:
    """`{before, after, difference, low, high, n, p}` of values of the same answers or questions.

    The interval is of `paired_difference`: it holds for any distribution on the scale, and is wide
    where values vary little. The p-value is of `sign_flip_test`, which of booleans is McNemar's:
    which side is which makes no difference. So the interval of a significant difference may
    include 0.

    Args:
      clusters: see `paired_difference`. `n` is their number then.
    """
    first, second = np.asarray(before), np.asarray(after)
    change = paired_difference(
        first, second, clusters, scale=scale, confidence=confidence, seed=seed
    )
    # The sign-flip test wants numbers. Sorted, as a set's order differs from process to process.
    names = None if clusters is None else sorted(set(clusters))
    if change.p is not None:
        numbers = None if names is None else [names.index(each) for each in clusters or ()]
        changes = second.astype(np.float64) - first.astype(np.float64)
        change = replace(change, p=sign_flip_test(changes, numbers, seed=seed))
    if names is not None:
        change = replace(change, n=len(names))
    return difference_record(first.tolist(), second.tolist(), change)


def paired(before: Sequence[Record], after: Sequence[Record]) -> Records:
    """One pair for each question: `{id, parallel_id, domain, lang, before, after, checks}`.

    `checks` is whether both sides have results of the checks.

    Raises:
      UserError: see `compare`.
    """
    old, new = ({record["id"]: record for record in records} for records in (before, after))
    if len(old) < len(before) or len(new) < len(after):
        raise UserError("a question has two scores in one run; compare one run with another")
    if old.keys() != new.keys():
        stray = min(old.keys() ^ new.keys())
        raise UserError(f"the runs have other questions ({stray!r} is in one only); evaluate alike")
    for id, record in old.items():
        if record["judge"] != new[id]["judge"]:
            raise UserError(f"the runs have other judges ({record['judge']}, {new[id]['judge']})")
        sides = record["checks"], new[id]["checks"]
        if None not in sides and sides[0].keys() != sides[1].keys():
            raise UserError(f"the runs have other checks of {id!r}; evaluate by one charter")
    return [
        {
            **{field: old[id][field] for field in ("id", "parallel_id", "domain", "lang")},
            "before": old[id],
            "after": new[id],
            # Where one of the two has no answer, it is in no difference of checks.
            "checks": None not in (old[id]["checks"], new[id]["checks"]),
        }
        for id in sorted(old)
    ]


def split(records: Records, field: str) -> dict[str, Records]:
    """The records by the value of a field, sorted."""
    parts: dict[str, Records] = defaultdict(list)
    for record in records:
        parts[record[field]].append(record)
    return dict(sorted(parts.items()))


def clusters_of(pairs: Records) -> tuple[str, list[str]]:
    """What the units are, and that of each pair."""
    domains = [pair["domain"] for pair in pairs]
    # With few domains their variance is hardly known, and the intervals would be too wide to say
    # anything.
    if len(set(domains)) >= LEAST_CLUSTERS:
        return "domain", domains
    return "question", [pair["parallel_id"] for pair in pairs]


def sides_of(pairs: Records, measure: str) -> tuple[Records, list[Any], list[Any]]:
    """The pairs that have a value of the measure on both sides, and the values before and after.

    Args:
      measure: `judge`, `all_checks` or a check's key.
    """
    if measure == "judge":
        having = [p for p in pairs if None not in (p["before"]["score"], p["after"]["score"])]
    else:
        having = [pair for pair in pairs if pair["checks"]]
        if measure != "all_checks":
            having = [pair for pair in having if measure in pair["before"]["checks"]]

    def value(record: Record) -> Any:
        if measure == "judge":
            return record["score"]
        checks = record["checks"]
        return all(checks.values()) if measure == "all_checks" else checks[measure]

    before, after = ([value(pair[side]) for pair in having] for side in ("before", "after"))
    return having, before, after


def _each(members: Records, group: str, differ: Callable[..., Record]) -> dict[str, Record]:
    return {lang: differ(own, group, lang) for lang, own in split(members, "lang").items()}


def _differences(
    pairs: Records, scale: Scale | None, seed: int, confidence: float, checks: bool
) -> Record:
    def differ(measure: str) -> Record:
        having, before, after = sides_of(pairs, measure)
        unit, clusters = clusters_of(having)
        settings: Mapping[str, Any] = {"confidence": confidence, "seed": derive_seed(seed, measure)}
        if measure == "judge":
            settings = {**settings, "scale": scale}
        change = paired_difference(before, after, clusters, **settings)
        record = {**difference_record(before, after, change), "clusters": unit}
        if measure == "judge":
            return record | _of_scores(pairs, before, after, scale)
        return record | rate_changes(
            before, after, confidence, alone=len(set(clusters)) == len(after)
        )

    found = {"judge": differ("judge"), "all_checks": differ("all_checks")}
    if checks:
        keys = {key for pair in pairs if pair["checks"] for key in pair["before"]["checks"]}
        found["checks"] = {key: differ(key) for key in sorted(keys)}
    return found


def _of_scores(pairs: Records, before: Sequence[float], after: Sequence[float], scale: Any) -> Any:
    unpaired = [p for p in pairs if None in (p["before"]["score"], p["after"]["score"])]
    bounds = (None, None)
    if scale and pairs:
        known = sum(after) - sum(before)
        bounds = tuple(
            (known + sum(_filled(p["after"], end) - _filled(p["before"], other) for p in unpaired))
            / len(pairs)
            # What is missing after gets one end and what is missing before the other, which is the
            # worst case for the later run, then the best one.
            for end, other in (scale, scale[::-1])
        )
    return {
        "unpaired": len(unpaired),
        "unscored_against": bounds[0],
        "unscored_for": bounds[1],
        "standardised": standardised_difference(np.subtract(after, before, dtype=float)),
    }


def _filled(record: Record, missing: float) -> float:
    return missing if record["score"] is None else record["score"]


def rate_changes(
    before: Sequence[bool], after: Sequence[bool], confidence: float, alone: bool
) -> Record:
    """`{gained, lost, odds_ratio}` of two rates on the same items.

    Args:
      alone: whether no two items are alike; else the odds ratio has no interval.
    """
    gained, lost = discordant(before, after)
    ratio = odds_ratio(gained, lost, confidence)
    # The bounds of the ratio are of items that don't depend on each other.
    bounds = {"low": ratio.low, "high": ratio.high} if alone else {"low": None, "high": None}
    ratio_record = {"ratio": ratio.value, **bounds, "n": ratio.n}
    return {"gained": gained, "lost": lost, "odds_ratio": ratio_record}
