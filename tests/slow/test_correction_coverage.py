"""How often intervals cover the truth that raters who err have seen: agreement, corrected rates.

`-s` prints the tables.
"""

import numpy as np

from tests.slow.simulations import ERROR, LEAST, covered, table
from vcjax.stats.agreement import alpha_interval, cohen_kappa, kappa_interval, krippendorff_alpha
from vcjax.stats.intervals import Interval, paired_difference
from vcjax.stats.prevalence import Share, corrected_difference, corrected_rate


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
