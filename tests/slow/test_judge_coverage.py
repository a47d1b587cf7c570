"""How often the intervals in a report's section on judges cover the truth.

Of 13 questions in two languages, as a small benchmark has, and of 3, as the planted answers of a
default check have. The versions of one question are alike. `-s` prints the tables.
"""

import numpy as np

from tests.slow.simulations import ERROR, LEAST, covered, table
from vcjax.evaluation.judging.reliability import agreement
from vcjax.stats.agreement import (
    alpha_interval,
    icc,
    icc_interval,
    krippendorff_alpha,
    spearman,
    spearman_interval,
)
from vcjax.stats.intervals import Interval, mean_interval, paired_difference
from vcjax.stats.multiplicity import holm
from vcjax.stats.separation import separation
from vcjax.stats.slopes import slope_within

SCALE = (0.0, 5.0)


def test_a_panel_of_judges():
    """Coefficients of three judges, and the difference and distance of two of them."""
    random, rows = np.random.default_rng(10), []

    def panel(questions: int, noise: float, alike: float) -> tuple[np.ndarray, list[int]]:
        shared = random.normal(0, 1, (questions, 1))
        truth = np.sqrt(0.7) * shared + np.sqrt(0.3) * random.normal(0, 1, (questions, 2))
        own = random.normal(0, 1, (3, questions, 2)) * np.sqrt(1 - alike)
        own += random.normal(0, 1, (3, questions, 1)) * np.sqrt(alike)
        harder = np.array([0.0, 0.3, 0.6])[:, None, None]
        scores = np.clip(np.rint(2.8 - harder + 1.4 * (truth + noise * own)), 0, 5)
        return scores.reshape(3, -1), np.repeat(np.arange(questions), 2).tolist()

    def intervals(scores: np.ndarray, clusters: list[int], seed: int) -> dict[str, Interval]:
        drawn = {"clusters": clusters, "seed": seed, "resamples": 999}
        apart = np.abs(scores[1] - scores[0])
        return {
            "alpha": alpha_interval(scores, "ordinal", **drawn),
            "icc of one": icc_interval(scores, scale=SCALE, **drawn),
            "icc of the panel": icc_interval(scores, "2,k", scale=SCALE, **drawn),
            "Spearman": spearman_interval(scores[0], scores[1], **drawn),
            "difference": paired_difference(scores[0], scores[1], clusters, scale=SCALE, seed=seed),
            "distance": mean_interval(apart, clusters, scale=SCALE, seed=seed),
        }

    for noise, alike in ((0.3, 0.3), (0.8, 0.5)):
        many, _ = panel(40_000, noise, alike)
        truths = {
            "alpha": krippendorff_alpha(many, "ordinal"),
            "icc of one": icc(many),
            "icc of the panel": icc(many, "2,k"),
            "Spearman": spearman(many[0], many[1]),
            "difference": float(np.mean(many[1] - many[0])),
            "distance": float(np.mean(np.abs(many[1] - many[0]))),
        }
        found = [intervals(*panel(13, noise, alike), seed) for seed in range(400)]
        for name, truth in truths.items():
            share = covered(truth, lambda seed, name=name, found=found: found[seed][name])
            rows.append((f"{name} {truth:.2f}", 26, share))
    table("Coverage of what a report prints of a panel of judges", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


def test_how_well_good_answers_are_told_apart():
    random, rows = np.random.default_rng(11), []

    def blocks(questions: int, gap: float) -> tuple[list, list[int]]:
        scores = random.normal(0, 1, (questions, 2, 4)) + random.normal(0, 0.4, (questions, 1, 1))
        scores[:, :, 0] += gap + random.normal(0, 0.5, (questions, 1))
        rounded = np.clip(np.rint(2 + scores), 0, 5).reshape(-1, 4)
        clusters = np.repeat(np.arange(questions), 2).tolist()
        return [(row[0], row[1:].tolist()) for row in rounded], clusters

    for gap in (0.3, 1.0, 2.5):
        many, _ = blocks(10_000, gap)
        wins = [np.mean([(a > b) + (a == b) / 2 for b in others]) for a, others in many]
        truth = float(np.mean(wins))
        for questions in (3, 12):

            def draw(seed: int, questions: int = questions, gap: float = gap) -> Interval:
                return separation(*blocks(questions, gap), seed=seed)

            rows.append((f"separation {truth:.2f}", questions, covered(truth, draw)))
    table("Coverage of the separation of planted answers (Gaffke, by question)", rows)
    assert min(share for _, _, share in rows) >= LEAST - ERROR


def test_the_slope_on_an_answer_s_length():
    """Within groups whose lengths and scores differ; of lengths of one kind, or of two."""
    random, rows = np.random.default_rng(12), []

    def answers(domains: int, questions: int, two_kinds: bool) -> tuple:
        shape = (domains, questions, 2)
        own = random.normal(0, 0.6, (domains, questions, 1))
        length = random.normal(0, 0.7, shape) + 0.3 * own
        if two_kinds:
            length += 2.5 * (random.random((domains, questions, 1)) < 0.3)
        noise = random.normal(0, 0.8, shape) * (1 + 0.3 * np.abs(length))
        score = random.normal(0, 1, (domains, 1, 1)) + 0.7 * own + 0.5 * length + noise
        where = np.indices(shape).reshape(3, -1)
        groups = [(int(domain), int(lang)) for domain, _, lang in where.T]
        clusters = [(int(domain), int(question)) for domain, question, _ in where.T]
        return length.ravel(), score.ravel(), groups, clusters

    for two_kinds in (False, True):
        # Of so many that its own error, 0.004, is small beside the shortest interval's 0.09.
        length, score, *_ = answers(2, 50_000, two_kinds)
        length, score = (
            side.reshape(2, -1, 2) - side.reshape(2, -1, 2).mean(axis=1, keepdims=True)
            for side in (length, score)
        )
        truth = float(np.sum(length * score) / np.sum(length**2))
        for domains, questions in ((2, 3), (1, 13), (13, 2), (13, 14)):

            def draw(
                seed: int,
                domains: int = domains,
                questions: int = questions,
                two_kinds: bool = two_kinds,
            ) -> Interval:
                return slope_within(*answers(domains, questions, two_kinds))

            name = f"slope {truth:.2f}, {domains} domains of {questions} in two languages"
            rows.append((name, 2 * domains * questions, covered(truth, draw, 1000)))
    table("Coverage of a slope within groups (jackknife by question)", rows)
    assert min(share for _, _, share in rows) >= LEAST


def test_judges_that_score_alike_are_seldom_said_to_differ_and_a_biased_one_mostly_is():
    """By what the report calls significant: the corrected p of the pairs' differences."""
    random = np.random.default_rng(13)

    def records(bias: float) -> list[dict]:
        truth = random.normal(2.8, 1.2, (30, 2)) + random.normal(0, 0.6, (3, 30, 2))
        truth += np.array([0, 0, bias])[:, None, None]
        scores = np.clip(np.rint(truth), 0, 5).astype(int)
        return [
            {
                "id": f"{question}-{lang}",
                "answer_hash": "",
                "parallel_id": f"{question}",
                "domain": "technology",
                "lang": ("en", "zh")[lang],
                "judge": f"judge {judge}",
                "family": "other",
                "score": int(scores[judge, question, lang]),
                "unscored": None,
            }
            for judge, question, lang in np.ndindex(scores.shape)
        ]

    def differ(bias: float, times: int) -> float:
        found = []
        for seed in range(times):
            pairs = agreement(records(bias), seed=seed)["pairs"]
            found.append(min(holm([pair["difference"]["p"] for pair in pairs])) <= 0.05)
        return float(np.mean(found))

    alike, biased = differ(0.0, 150), differ(0.7, 40)
    table("Reports that find judges to differ", [("alike", 60, alike), ("by 0.7", 60, biased)])
    assert alike <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)
    assert biased >= 0.8
