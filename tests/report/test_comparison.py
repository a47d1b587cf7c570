"""Differences by domain on the page of compared runs."""

from dataclasses import replace
from pathlib import Path

from vcjax.evaluation.comparison.analysis import compare_runs
from vcjax.evaluation.comparison.runs import ScoredRun
from vcjax.report.comparison.tables import domains, reach, scores
from vcjax.report.page import Figures, Table, Text
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


def test_the_paper_s_totals_stand_beside_scores_on_its_domains_alone():
    def asked_about(domain):
        return [
            replace(each, records=tuple({**record, "domain": domain} for record in each.records))
            for each in (run("a", lambda n: True, 3), run("b", lambda n: True, 4))
        ]

    for domain, beside in (("religion", True), ("consumer_credit", False)):
        (table,) = scores(compare_runs(asked_about(domain)))
        assert isinstance(table, Table)
        assert any("VC-LLM" in name for name in table.head) == beside
        assert any("799" in cell for cell in table.rows[0]) == beside
