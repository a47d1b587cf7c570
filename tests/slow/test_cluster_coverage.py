"""How often intervals by cluster cover the truth: of topics, of queries, and of languages.

`-s` prints the tables.
"""

import numpy as np

from tests.slow.simulations import ERROR, LEAST, SAMPLES, covered, table
from vcjax.stats.agreement import cohen_kappa, icc, icc_interval, kappa_interval
from vcjax.stats.components import variance_components
from vcjax.stats.intervals import (
    RATE,
    Interval,
    crossed_mean,
    mean_interval,
    paired_difference,
    rate_interval,
)


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
