import numpy as np
import pytest

from vcjax.stats.intervals import paired_difference
from vcjax.stats.power import detectable_by_sign_flips, detectable_difference

SCALE = (0.0, 5.0)


def scores(random, n, rise=0.0):
    hard = random.random(n)
    before, after = random.normal(0, 1, (2, n)) + 3.2 - 2 * hard
    return np.clip(np.rint(before), 0, 5), np.clip(np.rint(after + rise), 0, 5)


def test_what_is_detectable_depends_on_the_spread_of_the_pairs_and_not_on_their_difference():
    random = np.random.default_rng(0)
    before = random.integers(1, 4, 60).astype(float)
    noise = random.choice([-1.0, 0.0, 1.0], 60)
    settings = {"scale": SCALE}
    same, moved = (detectable_difference(before, before + noise + by, **settings) for by in (0, 1))
    assert same == pytest.approx(moved, rel=0.05)
    wider = detectable_difference(before, before + 2 * np.sign(noise) * (before < 4), **settings)
    assert wider > same
    assert detectable_difference(before, before + noise, **settings, level=0.001) > same
    assert detectable_difference(before, before + noise, **settings, power=0.95) > same


def test_pairs_in_clusters_that_change_together_show_less():
    random = np.random.default_rng(1)
    clusters = np.repeat(np.arange(12), 8)
    change = random.choice([-1.0, 1.0], 12)[clusters]
    before = np.full(96, 2.0)
    alone = detectable_difference(before, before + change, scale=SCALE)
    assert (
        detectable_difference(before, before + change, clusters.tolist(), scale=SCALE) > 2 * alone
    )


def test_what_sign_flips_detect_depends_on_the_spread_and_needs_enough_pairs():
    random = np.random.default_rng(3)
    before = random.normal(0, 0.3, 24)
    noise = random.normal(0, 0.1, 24)

    def detectable(spread=1.0, shift=0.0, n=24, level=0.05):
        change = spread * noise[:n] + shift
        sides = before[:n], before[:n] + change
        return detectable_by_sign_flips(*sides, scale=(-1.0, 1.0), level=level)

    found = detectable()
    assert found == pytest.approx(detectable(shift=0.2))
    assert found == pytest.approx(2.9 * 0.1 / np.sqrt(24), rel=0.3)  # as of a t-test
    assert detectable(spread=2.0) == pytest.approx(2 * found, rel=0.05)
    assert detectable(level=0.001) > found
    assert detectable(n=5) is None  # p is at least 1/16
    assert detectable(n=6, level=0.05) is not None
    with pytest.raises(ValueError, match="clusters"):
        detectable_by_sign_flips([0.0, 1.0], [0.0, 1.0], ["a"], scale=(0.0, 1.0))


def test_nothing_is_detectable_with_too_few_pairs():
    assert detectable_difference([3.0], [4.0], scale=SCALE) is None
    assert detectable_difference([3.0] * 4, [4.0] * 4, ["a"] * 4, scale=SCALE) is None
    assert detectable_difference([True] * 5, [True] * 5) is None  # 5 changes: p = 0.0625
    assert detectable_difference([0.0, 5.0] * 3, [5.0, 0.0] * 3, scale=SCALE, level=0.001) is None
    assert detectable_difference([3.0] * 9, [4.0] * 9) is None  # no spread, and no scale


def test_rates_are_exact():
    """Of 6 pairs that all change alike, McNemar's p is 0.03: the power is the share of samples in
    which all of them change."""
    found = detectable_difference([False] * 6, [False] * 6, power=0.8)
    assert found**6 == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("level", [0.05, 0.002])
def test_the_difference_is_found_as_often_as_it_says(level):
    """Of scores in 13 domains of 7 questions, by simulation; more in `tests/slow`."""
    random = np.random.default_rng(2)
    clusters = (np.arange(91) % 13).tolist()
    found = np.mean(
        [
            detectable_difference(*scores(random, 91), clusters, scale=SCALE, level=level)
            for _ in range(5)
        ]
    )
    rises = np.linspace(0, 2, 41)
    sizes = [np.mean(np.subtract(*scores(random, 50_000, rise)[::-1])) for rise in rises]
    rise = float(np.interp(found, sizes, rises))
    seen = 0
    for seed in range(60):
        change = paired_difference(*scores(random, 91, rise), clusters, scale=SCALE, seed=seed)
        seen += change.p <= level
    assert 0.6 < seen / 60 < 0.95
