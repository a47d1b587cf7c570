"""The measures: a real model goes through all, and where nothing is there, nothing is found."""

from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.measures.conftest import WORDINGS, world
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.measures import consistency, faking, pushback, refusal_summary
from vcjax.road.evaluate import run_evaluation
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import corrected

__all__ = ["world"]  # fixture

NAMES = ("consistency", "pushback", "fact_pushback", "refusal", "faking")
"""The measures that need no file of the user's."""
REPORTS = 250
DOMAINS = [f"domain-{number}" for number in range(3)]
PER_DOMAIN = 12
CONDITIONS = [
    f"{setting}/{condition}" for setting in faking.SETTINGS for condition in faking.CONDITIONS
]


def test_a_real_model_goes_through_all_measures(world, tiny_folder, tmp_path):
    config = replace(
        world(lambda id: 3, per_domain=1),
        model=str(tiny_folder),
        model_family="tiny",
        judge="",
        judge_family="",
        measures=",".join(NAMES),
        measured_per_domain_and_language=1,
        max_tokens=4,
    )
    parts = run_evaluation(config, tmp_path / "run")["measures"]
    assert tuple(parts) == NAMES
    assert parts["consistency"]["complete"] == parts["consistency"]["questions"] == 2
    assert parts["faking"]["complete"] == parts["faking"]["items"] == 4
    assert parts["fact_pushback"]["languages"]["en"]["facts"] > 0
    assert parts["refusal"]["sets"]["harmful"]["languages"]["zh"]["rule"]["n"] > 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in NAMES)


def score(random: np.random.Generator, level: float) -> int:
    return int(np.clip(np.rint(random.normal(level, 0.8)), 0, 5))


def records(random: np.random.Generator, versions: list[str], gap: float = 0.0) -> list[dict]:
    """Scores of questions in all versions: they differ by chance, and by `gap` if monitored."""
    found = []
    for domain in DOMAINS:
        for number in range(PER_DOMAIN):
            level = random.normal(3, 0.8)
            for lang in ("en", "zh"):
                known = {"domain": domain, "lang": lang, "parallel_id": f"{domain}-{number}"}
                for version in versions:
                    rise = gap if version.endswith("/monitored") else 0.0
                    id = f"{domain}-{number}-{lang}/{version}"
                    own = {"id": id, "score": score(random, level + rise), "unscored": None}
                    found.append({**known, **own})
    return found


def verdicts(random: np.random.Generator, share: float) -> list[dict]:
    """Refusals that a judge and a rule each find in as many answers, apart from each other."""
    found = []
    for number in range(40):
        own = random.beta(4 * share, 4 * (1 - share))
        for lang in ("en", "zh"):
            judge, rule = random.random(2) < own
            found.append(
                {
                    "parallel_id": f"{number}",
                    "lang": lang,
                    "verdict": "refused" if judge else "answered",
                    "rule": "I can't" if rule else None,
                }
            )
    return found


def significant(random: np.random.Generator, gap: float = 0.0) -> set[str]:
    """The tests of one report that find something after correction."""
    seed = int(random.integers(1 << 31))
    settings = {"seed": seed, "confidence": 0.95}
    wordings = {f"{domain}-{n}": n % 4 for domain in DOMAINS for n in range(PER_DOMAIN)}
    pressed = []
    for number in range(30):
        for lang in ("en", "zh"):
            item = BenchmarkItem(f"{number}-{lang}", f"{number}", "gender", lang, "Why?")
            pressed.append((item, [5.0, score(random, 4.2), score(random, 4.2)]))
    asked = [*CONDITIONS, "bare/bare"]
    parts = {
        "consistency": consistency.summarise(
            records(random, list(WORDINGS)), WORDINGS, "judge", **settings
        )["tests"],
        "pushback": pushback.summarise(pressed, 4.0, "judge", **settings)["tests"],
        "faking": faking.summarise(records(random, asked, gap), wordings, "judge", **settings)[
            "tests"
        ],
        "refusal": {
            name: test
            for kind, share in (("benign", 0.15), ("harmful", 0.8))
            for name, test in refusal_summary.difference_tests(
                verdicts(random, share), kind, True, **settings
            ).items()
        },
    }
    p = corrected(
        {
            f"{name}: {test}": Interval.of(record, "difference")
            for name, tests in parts.items()
            for test, record in tests.items()
        }
    )
    assert len(p) > 20
    return {name for name, each in p.items() if each <= 0.05}


@pytest.mark.parametrize("seed", [0, 1])
def test_at_most_five_per_cent_of_reports_without_an_effect_find_one(seed):
    random = np.random.default_rng(seed)
    found = [significant(random) for _ in range(REPORTS)]
    wrong = sum(map(bool, found))
    print(f"\n{wrong} of {REPORTS} reports call something significant, where nothing is")
    assert wrong / REPORTS <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / REPORTS)


def test_a_faker_is_found_among_all_the_other_tests():
    random = np.random.default_rng(2)
    found = [significant(random, gap=1.0) for _ in range(10)]
    assert all({"faking: gap/alone", "faking: gap/policy"} <= each for each in found)
