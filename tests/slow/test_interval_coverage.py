"""How often the intervals that reports print cover the truth, and how often their tests err.

`-s` prints the tables. Intervals of rates, alone and paired, are enumerated exactly; the others are
simulated at the smallest samples that a report prints them for.
"""

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from tests.slow.simulations import ERROR, LEAST, SAMPLES, covered, table
from vcjax.adversarial.pressure.half_life import half_life
from vcjax.stats.intervals import (
    Interval,
    crossed_mean,
    mean_interval,
    paired_difference,
    rate_interval,
)
from vcjax.stats.paired import tango_interval

# How a judge's scores from 0 to 5 are distributed: shares of each.
SCORES = {
    "even": [1 / 6] * 6,
    "middling": [0.02, 0.1, 0.3, 0.36, 0.2, 0.02],
    "two camps": [0.4, 0.1, 0, 0, 0.1, 0.4],
    "mostly 5": [0.02, 0.02, 0.02, 0.04, 0.2, 0.7],
    "5, rarely 0": [0.05, 0, 0, 0, 0, 0.95],
}


def test_a_rate():
    rates, rows = np.linspace(0.002, 0.5, 250), []
    for n in (1, 2, 5, 10, 13, 30, 91):
        bounds = np.array([rate_interval(k, n).bounds for k in range(n + 1)])
        inside = (bounds[:, 0] <= rates[:, None]) & (rates[:, None] <= bounds[:, 1])
        coverage = np.sum(binom.pmf(np.arange(n + 1), n, rates[:, None]) * inside, axis=1)
        rows.append(("rate: least over all rates", n, float(coverage.min())))
    table("Exact coverage of the interval of a rate (Clopper and Pearson)", rows)
    assert min(share for _, _, share in rows) >= 0.95


def test_a_rate_of_a_domain_and_of_a_benchmark():
    """Of 13 and of 182 items, at every rate from 0.005 to 0.995. What is covered more often than
    95 % is printed as over-coverage: the price of an interval that never covers less."""
    rates, rows = np.arange(1, 200) / 200, []
    for n in (13, 182):
        bounds = np.array([rate_interval(k, n).bounds for k in range(n + 1)])
        inside = (bounds[:, 0] <= rates[:, None]) & (rates[:, None] <= bounds[:, 1])
        coverage = np.sum(binom.pmf(np.arange(n + 1), n, rates[:, None]) * inside, axis=1)
        assert coverage.mean() >= 0.945
        assert coverage.min() >= 0.87
        rows += [("mean over all rates", n, float(coverage.mean()))]
        rows += [("least", n, float(coverage.min())), ("greatest", n, float(coverage.max()))]
        rows += [("over-coverage, mean", n, float(coverage.mean() - 0.95))]
        rows += [("rates covered above 97 %", n, float(np.mean(coverage > 0.97)))]
    table("Exact coverage of a rate from 0.005 to 0.995 (Clopper and Pearson)", rows)


def test_a_difference_of_rates():
    """Of all shares of items that become true, or false, of up to one half each."""
    rows = []
    shares = [0.005, 0.02, *np.arange(0.05, 0.5, 0.05)]
    for n in (10, 13, 20, 30, 60):
        counts = [(gained, lost) for gained in range(n + 1) for lost in range(n + 1 - gained)]
        bounds = np.array([tango_interval(gained, lost, n) for gained, lost in counts])
        kinds = np.array([(gained, lost, n - gained - lost) for gained, lost in counts])
        found = []
        for gain in shares:
            for loss in shares:
                weights = multinomial.pmf(kinds, n, [gain, loss, 1 - gain - loss])
                inside = (bounds[:, 0] <= gain - loss) & (gain - loss <= bounds[:, 1])
                found.append(float(weights @ inside))
        rows.append(("difference of rates: least", n, min(found)))
        rows.append(("difference of rates: mean", n, float(np.mean(found))))
    table("Exact coverage of the paired interval of rates (Tango)", rows)
    assert min(share for _, _, share in rows) >= LEAST


def test_a_mean_score():
    random, rows = np.random.default_rng(0), []
    for n in (2, 8, 13, 30):
        for name, shares in SCORES.items():

            def draw(seed: int, n: int = n, shares: list[float] = shares) -> Interval:
                scores = random.choice(6, n, p=shares).astype(float)
                return mean_interval(scores, scale=(0.0, 5.0), seed=seed)

            rows.append((f"mean score, {name}", n, covered(np.dot(shares, range(6)), draw)))
    table("Coverage of the interval of a mean score (Gaffke)", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


def test_a_difference_of_scores():
    """Of a score before and one after that is the same score, or is drawn anew from others."""
    random, rows = np.random.default_rng(1), []
    for n in (10, 13, 30):
        for before, after, kept in (("even", "mostly 5", 0.5), ("mostly 5", "two camps", 0.8)):
            old, new = SCORES[before], SCORES[after]
            truth = (1 - kept) * np.dot(np.subtract(new, old), range(6))

            def draw(
                seed: int,
                n: int = n,
                old: list[float] = old,
                new: list[float] = new,
                kept: float = kept,
            ) -> Interval:
                first, other = random.choice(6, n, p=old), random.choice(6, n, p=new)
                then = np.where(random.random(n) < kept, first, other)
                return paired_difference(first, then, scale=(0.0, 5.0), seed=seed)

            rows.append((f"{before} to {after}, {kept:.0%} kept", n, covered(truth, draw)))
    table("Coverage of the paired interval of scores (Gaffke)", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


def test_a_mean_without_a_scale():
    """Losses of documents: Student's, for what is about normal."""
    random, rows = np.random.default_rng(4), []
    for n in (8, 30):
        rows.append(
            ("loss", n, covered(3.0, lambda seed, n=n: mean_interval(random.normal(3, 0.4, n))))
        )
    table("Coverage of the interval of a mean without a scale (Student)", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


def test_a_half_life():
    """Of facts that one arm gives up less often than another, until further training undoes it."""
    random, rows = np.random.default_rng(9), []
    steps = [0, 4, 8, 16, 32]

    def gains(n: int, lives: float, gain: float) -> np.ndarray:
        """Whether the reference gives each fact up, less whether the arm does at each step."""
        kept = np.power(0.5, np.array(steps) / lives)
        hard = random.random(n)  # a fact that is given up at one step is likely to be at another
        reference = (hard < 0.7).astype(float)
        noise = random.normal(0, 0.08, (len(steps), n))
        return reference - (hard + noise < 0.7 - gain * kept[:, None])

    for n in (60, 150):
        for lives, gain in ((6.0, 0.4), (12.0, 0.4), (20.0, 0.5)):
            mean = gains(400_000, lives, gain).mean(axis=1, keepdims=True)
            truth = half_life(steps, np.repeat(mean, 50, axis=1), resamples=9)["value"]
            inside = []
            for seed in range(SAMPLES):
                found = half_life(steps, gains(n, lives, gain), seed=seed, resamples=999)
                if found["shown"]:
                    low, high = (found[name] for name in ("low", "high"))
                    inside.append((low or 99) <= truth <= (np.inf if high is None else high))
            assert len(inside) > 0.9 * SAMPLES
            rows.append((f"half-life {truth:.1f} steps, gain {gain:.0%}", n, np.mean(inside)))
    table("Coverage of the half-life of a gain (bootstrap by fact)", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


@pytest.mark.parametrize("n", [13, 30])
def test_a_test_at_five_per_cent_errs_in_five_of_a_hundred_at_most(n):
    """Where nothing changed: before and after are drawn alike, and depend on the item."""
    random = np.random.default_rng(6)
    clusters = (np.arange(4 * n) // 4).tolist()
    errors = {"McNemar": 0, "scores": 0, "by cluster": 0, "three runs": 0, "Student": 0}
    samples = 1000
    for seed in range(samples):
        hard = random.random(n)
        before, after = random.random((2, n)) < hard
        found = {"McNemar": paired_difference(before, after)}
        old, new = np.clip(np.rint(5 * hard + random.normal(0, 1, (2, n))), 0, 5)
        found["scores"] = paired_difference(old, new, scale=(0.0, 5.0), seed=seed)
        own = random.normal(0, 0.3, n).repeat(4)
        noise = random.normal(0, 1, (2, 4 * n)) + np.array([-own, own])
        found["by cluster"] = paired_difference(*(noise > 0), clusters, seed=seed)
        seeds = random.normal(0, 0.1, (3, 1)) + random.normal(0, 1, (3, n))
        changes = np.sign(np.where(np.abs(seeds) > 1, seeds, 0))
        found["three runs"] = crossed_mean(changes, scale=(-1.0, 1.0), null=0.0, seed=seed)
        found["Student"] = mean_interval(random.normal(0, 1, n), null=0.0)
        for name, interval in found.items():
            errors[name] += interval.p <= 0.05
    table("Tests at 5 % that reject a true null", [(k, n, v / samples) for k, v in errors.items()])
    assert max(errors.values()) / samples <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / samples)
