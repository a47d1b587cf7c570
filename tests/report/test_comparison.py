"""Differences by domain on the page of compared runs."""

from pathlib import Path

from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.runs import ScoredRun
from vcjax.report.comparison.tables import domains, reach
from vcjax.report.page import Figures, Text
from vcjax.stats.intervals import Interval


def run(name, passes, score=5):
    """A run of twelve questions in each of two domains."""
    records = [
        {"id": f"{domain}-{n}", "parallel_id": f"{domain}-{n}", "domain": domain, "lang": "en"}
        | {"question": f"{domain} {n}?", "answer": "So.", "judge": "j", "unscored": None}
        | {"score": score, "checks": {"p/c": passes(n)}}
        for domain in ("culture", "work")
        for n in range(12)
    ]
    return ScoredRun(name, Path(name), "vcjax", tuple(records), (0.0, 5.0), {"judge": "j"})


def test_where_the_judge_is_constant_the_domains_show_what_was_tested():
    comparison = compare_runs([run("a", lambda n: n % 4 == 0), run("b", lambda n: True)])
    assert comparison["families"]["domains"]["tests"] == 2
    _, figures, alike = domains(comparison)  # in both domains, so that there is no table
    assert isinstance(figures, Figures)
    assert figures.figures[0].caption.startswith("Answers that pass every rule check")
    assert isinstance(alike, Text)
    assert "Alike for Culture and Work: reading higher" in alike.text


def test_a_difference_without_an_interval_is_within_the_axis_too():
    assert reach([Interval(0.1, -0.4, 0.5, 9), Interval(-3.0, None, None, 1)], share=False) == 5.0
    assert reach([Interval()], share=True) == 0.1
