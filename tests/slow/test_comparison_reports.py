"""`launch.compare`'s reports: where nothing changed they stay silent, and a change that they call
detectable is found as often as they say."""

from pathlib import Path

import numpy as np
import pytest

from vcjax.evaluation.comparison import analysis
from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.differences import SCALE
from vcjax.evaluation.comparison.options import OptionPairs
from vcjax.evaluation.comparison.runs import ScoredRun
from vcjax.stats.intervals import paired_difference
from vcjax.stats.power import detectable_difference

DOMAINS = [f"domain-{number:02}" for number in range(13)]
REPORTS = 150


def scored_run(name: str, random: np.random.Generator, hard: np.ndarray, rise: float) -> ScoredRun:
    """A run; `hard` has each question's own share of what goes wrong, in both languages."""
    records = []
    for lang in ("en", "zh"):
        for index, own in enumerate(hard):
            score = int(np.clip(np.rint(random.normal(3.5 - 2 * own + rise, 1)), 0, 5))
            known = {"id": f"{index}-{lang}", "parallel_id": str(index), "lang": lang}
            passed = {"p/c": bool(random.random() < 0.9 - 0.5 * own)}
            records.append(
                {**known, "domain": DOMAINS[index % 13], "question": "?", "answer": "."}
                | {"judge": "j", "score": score, "unscored": None, "checks": passed}
            )
    return ScoredRun(name, Path(name), "vcjax", tuple(records), SCALE, {}, options=options(random))


def options(random: np.random.Generator) -> dict[str, tuple[dict, ...]]:
    """What the run finds probable: 12 items on each of 3 dimensions in two languages, and 60
    multiple-choice questions. Items are hard or easy by themselves."""
    own = np.random.default_rng(0)
    stance = [
        {"id": f"{dimension}-{item}-{lang}", "parallel_id": f"{dimension}-{item}", "lang": lang}
        | {"dimension": f"{dimension}", "position": float(np.tanh(level + random.normal(0, 0.2)))}
        for dimension in range(3)
        for item in range(12)
        for level in [own.normal(0.2, 0.4)]
        for lang in ("en", "zh")
    ]
    choice = [
        {"id": str(item), "lang": ("en", "zh")[item % 2], "category": "any"}
        | {"correct": bool(random.random() < share)}
        for item, share in enumerate(own.random(60))
    ]
    return {"stance": tuple(stance), "choice": tuple(choice)}


def words(random: np.random.Generator, questions: int, rise: float = 0.0) -> list[str]:
    hard = random.random(questions)
    runs = [scored_run(name, random, hard, by) for name, by in {"a": 0.0, "b": rise}.items()]
    comparison = compare_runs(runs, seed=int(random.integers(1 << 31)))
    found = []
    for own in comparison["comparisons"].values():
        cells = [own["all"], *own["languages"].values()]
        cells += [each for languages in own["domains"].values() for each in languages.values()]
        found += [
            cell[measure].get("reading", "") for cell in cells for measure in analysis.MEASURES
        ]
        found += [each["reading"] for lang in own["stance"].values() for each in lang.values()]
        found += [each["reading"] for each in own["choice"]["languages"].values()]
    return [each for each in found if each in ("higher", "lower")]


def test_at_most_five_per_cent_of_reports_of_no_change_say_higher_or_lower(monkeypatch):
    """Of 39 questions in two languages, a questionnaire and multiple choice, where nothing but
    chance differs."""
    # What is detectable takes long and changes no word.
    monkeypatch.setattr(analysis, "detectable_difference", lambda *sides, **settings: None)
    monkeypatch.setattr(OptionPairs, "detectable", lambda *settings: None)
    random = np.random.default_rng(0)
    wrong = sum(bool(words(random, 39)) for _ in range(REPORTS))
    print(f"\n{wrong} of {REPORTS} reports say higher or lower")
    assert wrong / REPORTS <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / REPORTS)


def test_a_change_that_is_there_is_reported():
    random = np.random.default_rng(1)
    found = [words(random, 91, rise=0.8) for _ in range(5)]
    assert all("higher" in each and "lower" not in each for each in found)


@pytest.mark.parametrize("level", [0.05, 0.002])
@pytest.mark.parametrize(("n", "clusters"), [(30, None), (91, 13), (182, 91)])
def test_a_detectable_difference_is_found_as_often_as_it_says(n, clusters, level):
    random = np.random.default_rng(2)
    named = None if clusters is None else (np.arange(n) % clusters).tolist()

    def sides(items: int, rise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        before, after = random.normal(0, 1, (2, items)) + 3.2 - 2 * random.random(items)
        return np.clip(np.rint(before), 0, 5), np.clip(np.rint(after + rise), 0, 5)

    found = [detectable_difference(*sides(n), named, scale=SCALE, level=level) for _ in range(30)]
    rises = np.linspace(0, 3, 61)
    sizes = [np.mean(np.subtract(*sides(100_000, rise)[::-1])) for rise in rises]
    rise = float(np.interp(np.mean([each for each in found if each is not None]), sizes, rises))
    seen = [
        (paired_difference(*sides(n, rise), named, scale=SCALE, seed=seed).p or 0) <= level
        for seed in range(300)
    ]
    print(f"\n{n} pairs, level {level}: {np.mean(found):.2f} is found in {np.mean(seen):.0%}")
    assert 0.68 <= np.mean(seen) <= 0.92
