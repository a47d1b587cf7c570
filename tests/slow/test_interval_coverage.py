"""How often the intervals that reports print cover the truth, and how often their tests err.

`-s` prints the tables. Intervals of rates, alone and paired, are enumerated exactly; the others are
simulated at the smallest samples that a report prints them for.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from vcjax.adversarial.pressure.half_life import half_life
from vcjax.stats.agreement import (
    alpha_interval,
    cohen_kappa,
    icc,
    icc_interval,
    kappa_interval,
    krippendorff_alpha,
)
from vcjax.stats.components import variance_components
from vcjax.stats.intervals import (
    RATE,
    Interval,
    crossed_mean,
    mean_interval,
    paired_difference,
    rate_interval,
)
from vcjax.stats.paired import tango_interval
from vcjax.stats.prevalence import Share, corrected_difference, corrected_rate

LEAST = 0.93
SAMPLES = 400
ERROR = 2.5 * np.sqrt(LEAST * (1 - LEAST) / SAMPLES)

# How a judge's scores from 0 to 5 are distributed: shares of each.
SCORES = {
    "even": [1 / 6] * 6,
    "middling": [0.02, 0.1, 0.3, 0.36, 0.2, 0.02],
    "two camps": [0.4, 0.1, 0, 0, 0.1, 0.4],
    "mostly 5": [0.02, 0.02, 0.02, 0.04, 0.2, 0.7],
    "5, rarely 0": [0.05, 0, 0, 0, 0, 0.95],
}


def table(title: str, rows: list[tuple[str, int, float]]) -> None:
    print(f"\n{title}")
    for name, n, share in rows:
        print(f"  {name:46} n = {n:3}  {share:6.1%}")


def covered(truth: float, draw: Callable[[int], Interval], samples: int = SAMPLES) -> float:
    intervals = [draw(seed) for seed in range(samples)]
    return float(np.mean([each.low <= truth <= each.high for each in intervals]))


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


def clustered_rates(
    random: np.random.Generator, rate: float, alike: float, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of clusters whose own rates have a beta distribution, and each one's cluster.

    Args:
      alike: the intraclass correlation.
    """
    spread = (1 - alike) / alike
    own = random.beta(rate * spread, (1 - rate) * spread, len(sizes))
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    return random.random(len(clusters)) < own[clusters], clusters


CLUSTERS = {
    "12 topics of 8": np.full(12, 8),
    "12 topics of 2 to 20": np.array([2, 3, 4, 5, 6, 8, 8, 10, 12, 14, 16, 20]),
    "6 topics of 8": np.full(6, 8),
    "13 questions in 2 languages": np.full(13, 2),
}


def test_a_rate_by_cluster():
    random, rows, ignoring = np.random.default_rng(2), [], []
    for name, sizes in CLUSTERS.items():
        for rate in (0.1, 0.3, 0.5):
            for alike in (0.05, 0.2):

                def draw(
                    seed: int,
                    sizes: np.ndarray = sizes,
                    rate: float = rate,
                    alike: float = alike,
                    by_cluster: bool = True,
                ) -> Interval:
                    values, clusters = clustered_rates(random, rate, alike, sizes)
                    if not by_cluster:
                        return rate_interval(int(values.sum()), len(values))
                    return mean_interval(values, clusters.tolist(), scale=RATE, seed=seed)

                row = f"{name}, rate {rate:.0%}, correlation {alike}"
                rows.append((row, int(sizes.sum()), covered(rate, draw, 2 * SAMPLES)))
                if alike == 0.2 and sizes[0] == 8:
                    share = covered(rate, lambda seed, draw=draw: draw(seed, by_cluster=False))
                    ignoring.append((f"{row}, as if independent", int(sizes.sum()), share))
    table("Coverage of a rate's interval by cluster (Korn and Graubard)", rows + ignoring)
    assert min(share for _, _, share in rows) >= LEAST - ERROR
    assert max(share for _, _, share in ignoring) < LEAST


def test_a_difference_of_rates_by_cluster_and_of_several_runs():
    random, rows = np.random.default_rng(3), []
    clusters = np.repeat(np.arange(12), 8)

    def pairs(shift: float, own: float) -> tuple[np.ndarray, np.ndarray]:
        """Before and after of items that are hard or easy by themselves and by their topic; a topic
        has also its own change."""
        item = random.normal(0, 0.7, 96) + random.normal(0, 0.5, 12)[clusters]
        change = shift + random.normal(0, own, 12)[clusters]
        noise = random.normal(0, 0.5, (2, 96))
        return item + noise[0] > 0, item + noise[1] > change

    for own in (0.0, 0.5):
        many = [np.mean(np.subtract(*map(np.mean, pairs(0.6, own)[::-1]))) for _ in range(8000)]

        def draw(seed: int, own: float = own) -> Interval:
            before, after = pairs(0.6, own)
            return paired_difference(before, after, clusters.tolist(), seed=seed)

        name = f"12 topics of 8, own changes {own}"
        rows.append((name, 96, covered(float(np.mean(many)), draw)))
    for runs in (1, 2, 3):
        for spread in (0.0, 0.1):
            if runs == 1 and spread:
                continue  # one run's interval doesn't cover other seeds

            def crossed(seed: int, runs: int = runs, spread: float = spread) -> Interval:
                base = 0.4 + random.uniform(-0.2, 0.2, 12)[clusters]
                rates = base + random.uniform(-spread, spread, (runs, 1))
                values = (random.random((runs, 96)) < rates).astype(float)
                return crossed_mean(values, clusters.tolist(), scale=RATE, seed=seed)

            rows.append((f"{runs} runs that differ by {spread}", 96, covered(0.4, crossed)))
    table("Coverage of intervals by cluster: differences, and several runs", rows)
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


def test_agreement_and_corrected_rates():
    random, rows = np.random.default_rng(5), []

    def raters(n: int, share: float, right: float) -> np.ndarray:
        truth = random.random(n) < share
        return np.where(random.random((2, n)) < right, truth, ~truth).astype(int)

    # The gate of a calibration needs ten labels of each kind.
    for n, share, right in ((30, 0.5, 0.85), (50, 0.5, 0.97), (100, 0.2, 0.9), (100, 0.1, 0.97)):
        first, second = raters(200_000, share, right)
        kappa = cohen_kappa(first.tolist(), second.tolist())
        alpha = krippendorff_alpha(np.array([first, second], float))

        def kappas(seed: int, n: int = n, share: float = share, right: float = right) -> Interval:
            a, b = raters(n, share, right).tolist()
            return kappa_interval(a, b, seed=seed, resamples=999)

        def alphas(seed: int, n: int = n, share: float = share, right: float = right) -> Interval:
            return alpha_interval(raters(n, share, right), seed=seed, resamples=999)

        rows.append((f"kappa {kappa:.2f}, share {share:.0%}", n, covered(kappa, kappas)))
        rows.append((f"alpha {alpha:.2f}, share {share:.0%}", n, covered(alpha, alphas)))
    for n, rate in ((30, 0.1), (30, 0.5), (200, 0.3)):

        def corrected(seed: int, n: int = n, rate: float = rate) -> Interval:
            seen = rate * 0.85 + (1 - rate) * 0.1
            right = (int(random.binomial(40, share)) for share in (0.85, 0.9))
            return corrected_rate(
                Share(int(random.binomial(n, seen)), n), *(Share(k, 40) for k in right)
            )

        rows.append((f"rate {rate:.0%} corrected for errors", n, covered(rate, corrected)))
    table("Coverage of agreement (unseen item) and of corrected rates (Lang and Reiczigel)", rows)
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


def test_agreement_by_cluster():
    """Of two Critics on the answers to each of some queries: they find some queries harder than
    others, and the answers to one query are alike."""
    random, rows = np.random.default_rng(8), []

    def scores(queries: int, each: int, noise: float) -> tuple[np.ndarray, list[int]]:
        level = random.normal(3, 1, (queries, 1)) + random.normal(0, 0.7, (queries, each))
        # Of some queries the Critics share less than of others.
        spread = noise * np.where(random.random((queries, 1)) < 0.3, 2.0, 0.7)
        seen = level + spread * random.normal(0, 1, (2, queries, each))
        given = np.clip(np.rint(seen), 0, 5).astype(int).reshape(2, -1)
        return given, np.repeat(np.arange(queries), each).tolist()

    for queries, each in ((20, 2), (30, 5)):
        for noise in (0.4, 1.0):
            (a, b), _ = scores(40_000, each, noise)
            truths = {
                "kappa of decisions": cohen_kappa((a >= 4).tolist(), (b >= 4).tolist()),
                "quadratic kappa": cohen_kappa(a.tolist(), b.tolist(), "quadratic", range(6)),
                "icc": icc([a.tolist(), b.tolist()]),
            }

            def draw(
                seed: int, name: str, queries: int = queries, each: int = each, noise: float = noise
            ) -> Interval:
                (a, b), clusters = scores(queries, each, noise)
                settings = {"clusters": clusters, "seed": seed, "resamples": 999}
                if name == "icc":
                    return icc_interval([a.tolist(), b.tolist()], scale=(0.0, 5.0), **settings)
                if name == "quadratic kappa":
                    return kappa_interval(
                        a.tolist(), b.tolist(), "quadratic", list(range(6)), **settings
                    )
                return kappa_interval((a >= 4).tolist(), (b >= 4).tolist(), **settings)

            for name, truth in truths.items():
                share = covered(truth, lambda seed, name=name, draw=draw: draw(seed, name))
                rows.append((f"{name} {truth:.2f}, {queries} queries", queries * each, share))
    table("Coverage of agreement by cluster (unseen cluster)", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


def test_variances_by_their_cause_and_gaps_by_question():
    """Of scores of questions in two languages and three neutral wordings, with opposing ones; and
    of the gap between two conditions, whose values come from both languages of a question."""
    random, rows = np.random.default_rng(7), []

    def scores(n: int, level: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
        own = level + random.normal(0, 0.8, (n, 1)) + random.normal(0, 0.5, (n, 2))
        framed = own + random.normal(-0.3, 0.7, (n, 2))
        neutral = random.normal(own[..., None], spread, (n, 2, 3))
        opposing = random.normal(framed, spread)
        return np.clip(np.rint(neutral), 0, 5), np.clip(np.rint(opposing), 0, 5)

    for level, spread in ((3.0, 0.7), (4.8, 0.4)):
        whole = variance_components(*scores(200_000, level, spread), width=5.0)
        for n in (8, 14, 40):
            for name in ("wording", "framing", "language"):

                def draw(
                    seed: int,
                    name: str = name,
                    n: int = n,
                    level: float = level,
                    spread: float = spread,
                ) -> Interval:
                    part = variance_components(*scores(n, level, spread), width=5.0)[name]
                    return mean_interval(part.parts, scale=part.scale, seed=seed)

                truth = float(whole[name].parts.mean())
                rows.append((f"variance by {name}, level {level}", n, covered(truth, draw)))

    def sides(n: int) -> tuple[np.ndarray, np.ndarray]:
        own = 3 + random.normal(0, 0.8, (n, 1)) + random.normal(0, 0.5, (n, 2))
        shift = 0.4 + random.normal(0, 0.4, (n, 1))
        before, after = np.clip(random.normal(np.stack([own, own + shift]), 0.6), 0, 5)
        return before.ravel(), after.ravel()

    truth = float(np.mean(np.subtract(*sides(500_000)[::-1])))
    for n in (8, 14, 40):

        def gap(seed: int, n: int = n) -> Interval:
            clusters = np.repeat(np.arange(n), 2).tolist()
            return paired_difference(*sides(n), clusters, scale=(0.0, 5.0), seed=seed)

        rows.append(("gap of scores by question", n, covered(truth, gap)))
    table("Coverage of variances by cause, and of gaps by question (Gaffke)", rows)
    assert min(share for _, _, share in rows) >= 0.93 - 2.5 * np.sqrt(0.93 * 0.07 / SAMPLES)


def test_a_difference_of_rates_seen_by_a_judge_that_errs():
    random, rows = np.random.default_rng(7), []
    for n, labels in ((30, 30), (30, 100), (91, 30), (91, 100)):
        for rate, rise in ((0.5, 0.0), (0.1, 0.1), (0.3, 0.3), (0.4, 0.55)):
            for right in ((0.9, 0.9), (0.97, 0.8), (0.75, 0.75)):

                def draw(
                    seed: int,
                    n: int = n,
                    labels: int = labels,
                    rate: float = rate,
                    rise: float = rise,
                    right: tuple[float, float] = right,
                ) -> Interval:
                    before = random.random(n) < rate
                    after = before | (random.random(n) < rise / (1 - rate))
                    seen = [
                        np.where(random.random(n) < np.where(truth, *right), truth, ~truth)
                        for truth in (before, after)
                    ]
                    measured = (Share(int(random.binomial(labels, s)), labels) for s in right)
                    found = corrected_difference(paired_difference(*seen), *measured)
                    return found if found.bounds else Interval(None, -1.0, 1.0, n)

                row = f"{rate:.0%} to {rate + rise:.0%}, {labels} labels of each, {right}"
                rows.append((row, n, covered(rise, draw)))
    table("Coverage of a difference corrected for the judge's errors (MOVER)", rows)
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
