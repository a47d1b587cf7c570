"""Where nothing changed, a report doesn't say higher or lower: 2,000 simulated reports."""

import re

import numpy as np
import pytest

from vcjax.evaluation.comparison.differences import compare
from vcjax.report.changes import comparison_readings, verdict_section
from vcjax.report.page import Notice

DOMAINS = [f"domain-{number:02}" for number in range(13)]
HELD_OUT = DOMAINS[:3]
CHECKS = {"p/language": 0.9, "p/refusal": 0.8, "p/length": 0.6, "p/repetition": 0.4, "p/views": 0.1}
REPORTS = 2000


def run(random: np.random.Generator, hard: np.ndarray, rise: float) -> list[dict]:
    """Score records of one run; `hard` has each question's own share of what goes wrong."""
    records = []
    for lang in ("en", "zh"):
        for index, own in enumerate(hard):
            score = int(np.clip(np.rint(random.normal(3.5 - 2 * own + 5 * rise, 1)), 0, 5))
            known = {"id": f"{index}-{lang}", "parallel_id": index, "lang": lang}
            known["domain"] = DOMAINS[index % 13]
            passed = {
                key: bool(random.random() < min(1, rate * (1.3 - 0.6 * own) + rise))
                for key, rate in CHECKS.items()
            }
            records.append({**known, "judge": "j", "score": score, "checks": passed})
    return records


def report(random: np.random.Generator, questions: int, rise: float = 0.0) -> dict:
    hard = random.random(questions)
    before, after = run(random, hard, 0.0), run(random, hard, rise)
    return compare(before, after, held_out=HELD_OUT, seed=int(random.integers(1 << 31)))


def words(comparison: dict) -> set[str]:
    """What the verdict's sentences and the tables' readings say of the direction of a change."""
    blocks = verdict_section(comparison, False, 0.95).blocks
    notices = [block for block in blocks if isinstance(block, Notice)]
    assert len(notices) == 4
    text = " ".join(f"{notice.title} {notice.text}" for notice in notices)
    found = set(re.findall(r"\b(higher|lower)\b", text))
    return found | ({"higher", "lower"} & set(comparison_readings(comparison, 0.95).values()))


@pytest.mark.parametrize("questions", [13, 39])
def test_at_most_five_per_cent_of_reports_of_no_change_say_higher_or_lower(questions):
    random = np.random.default_rng(questions)
    reports = REPORTS // 2
    wrong = sum(bool(words(report(random, questions))) for _ in range(reports))
    print(f"\n{questions} questions a language: {wrong} of {reports} reports say higher or lower")
    assert wrong / reports <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / reports)


def test_a_change_that_is_there_is_reported():
    random = np.random.default_rng(0)
    found = [words(report(random, 39, rise=0.3)) for _ in range(20)]
    assert sum("higher" in each for each in found) >= 18
    assert not any("lower" in each for each in found)
