"""Differences between arms, query by query: with intervals by topic, and what they allow to state.

Queries on one topic are alike, so that topics are the units; see
`vcjax.stats.intervals.crossed_mean`. What the report puts into words are the planned contrasts
alone, corrected together for how many there are (Holm; see `vcjax.stats.multiplicity.readings`).
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vcjax.core.seeds import derive_seed
from vcjax.road.ablation.config import ATTACKS, AblationConfig
from vcjax.road.ablation.queries import CLEAN, HELD_OUT
from vcjax.road.ablation.results import ANY, ArmResult
from vcjax.stats.intervals import Interval, Scale, crossed_mean, interval_record
from vcjax.stats.multiplicity import readings

CONFIDENCE = 0.95
Topics = Mapping[str, Sequence[Hashable]]
"""The topic of each query by group, in the order of the arrays."""
_DIFFERENCE: Scale = (-1.0, 1.0)


def compare(
    config: AblationConfig, results: Mapping[str, ArmResult], topics: Topics
) -> list[dict[str, Any]]:
    """All contrasts, the planned ones first; what the report states of these has a `reading`."""
    differences = [
        _difference_record(config, names, results, topics, planned=planned)
        for names, planned in _contrasts(config)
    ]
    tested = [
        record
        for difference in differences
        if difference["planned"]
        for record in (
            difference["broken"][HELD_OUT][ANY],
            difference["broken"][CLEAN][ANY],
            difference["attacked_less_clean"],
        )
    ]
    # Together, as they are corrected for how many there are.
    changes = {number: Interval.of(each, "difference") for number, each in enumerate(tested)}
    for number, read in readings(changes, CONFIDENCE).items():
        tested[number]["reading"] = read
    return differences


def _contrasts(config: AblationConfig) -> list[tuple[tuple[str, str], bool]]:
    """The pairs of arms that are compared, each with whether it is planned.

    Planned are those that ask what the attacks are for: an arm that was trained on its attacks,
    with each untrained arm and with each that has other data of the same size. The others, each
    with the base model, are only described.
    """
    planned = [
        (arm.name, other.name)
        for arm in config.arms
        if arm.data == ATTACKS
        for other in config.arms
        # With as many pairs: another number of them would be a difference by itself.
        if not other.trains or other.like == arm.name
    ]
    described = [(arm.name, config.base.name) for arm in config.arms if arm is not config.base]
    return [
        *((names, True) for names in planned),
        *((names, False) for names in described if names not in planned),
    ]


def _difference_record(
    config: AblationConfig,
    names: tuple[str, str],
    results: Mapping[str, ArmResult],
    topics: Topics,
    *,
    planned: bool,
) -> dict[str, Any]:
    """The first arm less the second, query by query, by group and rule, and document by document.

    `runs` has the differences of the single seeds. `attacked_less_clean` is by how much the change
    on held-out attacks exceeds that on plain questions on the same topics: a habit that doesn't
    depend on attacks changes both alike.
    """
    first, second = (results[name] for name in names)

    def differ(one: Any, other: Any, *name: str, **settings: Any) -> dict[str, Any]:
        # Paired by query and by seed, as both arms answered the same and were seeded alike.
        change = np.asarray(one, float) - np.asarray(other, float)
        seed = derive_seed(config.seed, *names, *name)
        interval = crossed_mean(change, null=0.0, confidence=CONFIDENCE, seed=seed, **settings)
        return _change_record(interval, change)

    attacked, clean = (
        # One run of an untrained arm is broadcast over all runs of the other.
        first.broken[group][ANY].astype(float) - second.broken[group][ANY]
        for group in (HELD_OUT, CLEAN)
    )
    return {
        "arms": list(names),
        "planned": planned,
        "broken": {
            group: {
                rule: differ(
                    values,
                    second.broken[group][rule],
                    group,
                    rule,
                    clusters=topics[group],
                    scale=_DIFFERENCE,
                )
                for rule, values in rules.items()
            }
            for group, rules in first.broken.items()
        },
        "attacked_less_clean": _less(
            attacked,
            clean,
            [*topics[HELD_OUT], *topics[CLEAN]],
            derive_seed(config.seed, *names, "attacked less clean"),
        ),
        # Without a scale, as a loss has no largest value: Student's interval, over documents.
        "loss": differ(first.loss, second.loss, "loss"),
    }


def _change_record(interval: Interval, change: Float[np.ndarray, "runs items"]) -> dict[str, Any]:
    runs = change.mean(axis=1).tolist() if change.size else []
    return {**interval_record(interval, "difference"), "runs": runs}


def _less(
    attacked: Float[np.ndarray, "runs attacked"],
    clean: Float[np.ndarray, "runs clean"],
    topics: Sequence[Hashable],
    seed: int,
) -> dict[str, Any]:
    """The mean of `attacked` less that of `clean`, as one mean over both, in clusters of topics.

    Args:
      topics: of the attacked queries, then of the clean ones.
    """
    if not attacked.size or not clean.size:
        return _change_record(Interval(), np.empty((len(attacked), 0)))
    total = attacked.shape[1] + clean.shape[1]
    # Weights that make the mean of all values the difference of the two means.
    weights = (total / attacked.shape[1], -total / clean.shape[1])
    values = np.concatenate([weights[0] * attacked, weights[1] * clean], axis=1)
    # A weighted change may be this large, and the interval's method needs the true ends.
    most = max(map(abs, weights))
    interval = crossed_mean(
        values, topics, scale=(-most, most), null=0.0, confidence=CONFIDENCE, seed=seed
    )
    return _change_record(interval, values)
