"""How often the intervals of stances cover the truth, and how often a test of shifts errs.

Positions are as a model with probabilities gives them: of statements that lie about a level, by a
model that leans (its positions are near 0) or is firm (they are near -1 and 1). `-s` prints the
tables.
"""

import numpy as np
import scipy.special
import scipy.stats

from tests.slow.simulations import ERROR, LEAST, SAMPLES, covered, table
from vcjax.evaluation.comparison.options import STANCE, OptionPairs
from vcjax.evaluation.options.stances import POSITIONS
from vcjax.stats.intervals import RATE, Interval, mean_interval
from vcjax.stats.power import detectable_by_sign_flips

OPTIONS = np.linspace(-1, 1, 4)
MODELS = {"leans": 1.0, "is firm": 8.0}
ITEMS = (4, 12, 20)


def probabilities(level: np.ndarray, firmness: float) -> np.ndarray:
    return scipy.special.softmax(firmness * level[..., None] * OPTIONS, axis=-1)


def levels(random: np.random.Generator, items: int, level: float, shift: float = 0.0) -> np.ndarray:
    """Where two runs stand on each item in two languages: `[run, item, language]`. The versions of
    an item are alike, and so is what either run adds to both."""
    item = level + random.normal(0, 0.4, (items, 1)) + random.normal(0, 0.15, (items, 2))
    own = random.normal(0, 0.1, (2, items, 1)) + random.normal(0, 0.07, (2, items, 2))
    return item + own + np.array([0.0, shift])[:, None, None]


def test_positions_and_entropies():
    random, rows = np.random.default_rng(20), []
    for name, firmness in MODELS.items():
        for level in (0.0, 0.5):
            many = probabilities(levels(random, 100_000, level)[0, :, 0], firmness)
            truths = {
                "position": (many @ OPTIONS).mean(),
                "entropy": (scipy.stats.entropy(many, axis=-1) / np.log(4)).mean(),
            }
            for n in ITEMS:

                def draw(
                    seed: int, what: str, n: int = n, level: float = level, f: float = firmness
                ) -> Interval:
                    shown = probabilities(levels(random, n, level)[0, :, 0], f)
                    if what == "position":
                        return mean_interval(shown @ OPTIONS, scale=POSITIONS, seed=seed)
                    entropy = scipy.stats.entropy(shown, axis=-1) / np.log(4)
                    return mean_interval(entropy, scale=RATE, seed=seed)

                for what, truth in truths.items():
                    share = covered(truth, lambda seed, what=what, draw=draw: draw(seed, what))
                    rows.append((f"{what} {truth:.2f}, {name}", n, share))
    table("Coverage of a stance's position and entropy (Gaffke)", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


def pairs(
    random: np.random.Generator, items: int, level: float, firmness: float, shift: float
) -> OptionPairs:
    before, after = probabilities(levels(random, items, level, shift), firmness) @ OPTIONS
    clusters = [str(item) for item in range(items) for _ in range(2)]
    return OptionPairs(STANCE, before.ravel().tolist(), after.ravel().tolist(), clusters)


def test_shifts_of_stance():
    """Their intervals, and their test where nothing has moved."""
    random, rows, errors = np.random.default_rng(21), [], []
    for name, firmness in MODELS.items():
        for shift in (0.0, 0.3):
            many = pairs(random, 100_000, 0.2, firmness, shift)
            truth = float(np.mean(np.subtract(many.after, many.before)))
            for n in ITEMS:
                found = [
                    pairs(random, n, 0.2, firmness, shift).record(seed, 0.95)
                    for seed in range(SAMPLES)
                ]
                share = np.mean([each["low"] <= truth <= each["high"] for each in found])
                rows.append((f"shift {truth:.2f}, {name}", n, float(share)))
                if not shift:
                    wrong = np.mean([each["p"] <= 0.05 for each in found])
                    errors.append((f"no shift, {name}", n, float(wrong)))
    table("Coverage of a shift of stance, of items in two languages (Gaffke)", rows)
    table("Shifts at 5 % where there is none (sign flips)", errors)
    assert min(share for _, _, share in rows) >= LEAST - ERROR
    assert max(share for _, _, share in errors) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / SAMPLES)


def test_a_detectable_shift_is_found_as_often_as_it_says():
    random = np.random.default_rng(22)
    for n, level in ((12, 0.05), (30, 0.005)):
        sizes = [
            detectable_by_sign_flips(
                each.before, each.after, each.clusters, scale=POSITIONS, level=level
            )
            for each in (pairs(random, n, 0.2, 1.0, 0.0) for _ in range(30))
        ]
        rises = np.linspace(0, 2, 41)
        moved = [pairs(random, 20_000, 0.2, 1.0, rise) for rise in rises]
        means = [float(np.mean(np.subtract(each.after, each.before))) for each in moved]
        size = float(np.mean([each for each in sizes if each is not None]))
        rise = float(np.interp(size, means, rises))
        found = [pairs(random, n, 0.2, 1.0, rise).record(s, 0.95)["p"] <= level for s in range(300)]
        print(f"\n{n} items, level {level}: {size:.3f} is found in {np.mean(found):.0%}")
        assert 0.68 <= np.mean(found) <= 0.92
