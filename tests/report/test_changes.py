"""Verdicts state what the paired intervals allow, and no more."""

import copy

import pytest

from vcjax.evaluation.comparison.differences import compare
from vcjax.report.changes import comparison_readings, sentence, verdict_section
from vcjax.report.reports import demo_lines
from vcjax.stats.intervals import Interval, paired_difference
from vcjax.stats.multiplicity import readings


def difference(value, low, high, p, n=40):
    record = {"n": n, "before": 2.0, "after": 2.0, "difference": value, "low": low, "high": high}
    return {**record, "p": p}


UP = difference(0.4, 0.2, 0.6, 1e-4)
DOWN = difference(-0.2, -0.3, -0.1, 1e-4)
FLAT = difference(0.4, -0.01, 0.8, 0.06)


def notices(checks, judged, same_family, unpaired=0):
    parts = {"judge": {**judged, "unpaired": unpaired}, "all_checks": checks, "checks": {}}
    comparison = {"languages": {"en": parts}, "held_out": {}, "trained": {}}
    section = verdict_section(comparison, same_family, 0.95)
    return [block for block in section.blocks if block.kind == "notice"]


def reading(interval):
    return readings({"": interval})[""]


@pytest.mark.parametrize(
    ("value", "p", "n", "expected"),
    [
        (0.3, 0.04, 40, "higher"),
        (-0.3, 0.04, 40, "lower"),
        (0.3, 0.06, 40, "no clear change"),
        (0.0, 1.0, 40, "no clear change"),
        (1.0, 0.002, 9, "too few pairs to say"),
        (0.3, None, 40, "not tested"),
    ],
)
def test_reading_follows_the_p_value(value, p, n, expected):
    assert reading(Interval(value, value - 0.3, value + 0.3, n, p)) == expected


def test_nothing_measured_is_too_little_to_say():
    assert reading(Interval(None, None, None, 0)) == "too few pairs to say"


def test_three_of_thirteen_improved_isnt_higher():
    """The paired bootstrap's interval is [8 %, 46 %], which read as higher."""
    improved = paired_difference([False] * 13, [True] * 3 + [False] * 10)
    assert reading(improved) == "no clear change"


def test_thirteen_equal_differences_of_no_size_arent_a_finding():
    assert reading(paired_difference([3] * 13, [3] * 13, scale=(0, 5))) == "no clear change"


def test_one_of_many_isnt_higher_by_its_own_p_value():
    """p = 0.02 alone is a finding; beside 19 others it is what chance brings."""
    one = Interval(0.3, 0.05, 0.5, 40, 0.02)
    others = {number: Interval(0.1, -0.2, 0.3, 40, 0.5) for number in range(19)}
    assert reading(one) == "higher"
    assert set(readings({**others, "one": one}).values()) == {"no clear change"}
    sure = Interval(-0.3, -0.5, -0.2, 40, 1e-5)
    assert readings({**others, "one": one, "sure": sure})["sure"] == "lower"
    untested = {number: Interval(0.1, -0.2, 0.3, 9, 0.5) for number in range(19)}
    assert readings({**untested, "one": one})["one"] == "higher"


def test_a_report_without_held_out_domains_counts_each_difference_once():
    def run(passed):
        return [
            {
                "id": f"q{n}",
                "parallel_id": f"q{n}",
                "domain": "d",
                "lang": "en",
                "judge": "j",
                "score": 3,
            }
            | {"checks": {"p/c": passed(n), "p/d": True}}
            for n in range(12)
        ]

    comparison = compare(run(lambda n: False), run(lambda n: n < 8))
    found = comparison_readings(comparison, 0.95)
    assert found == {
        ("languages", "en", "judge"): "no clear change",
        ("languages", "en", "all_checks"): "higher",  # p = 2 / 2^8, of four
        ("languages", "en", "checks", "p/c"): "higher",
        ("languages", "en", "checks", "p/d"): "no clear change",
    }
    assert len(comparison_readings(compare(*[run(bool)] * 2, held_out={"e"}), 0.95)) == 4


def test_sentences():
    rise, fall = Interval(0.41, 0.2, 0.62, 91), Interval(-0.125, -0.2, -0.05, 91)
    up = sentence("Mean score", rise, "higher", "95%", share=False)
    assert up == (
        "Mean score: higher after alignment (+0.41, 95% interval +0.20 to +0.62, "
        "91 questions compared)."
    )
    down = sentence("Pass rate", fall, "lower", "95%", share=True)
    assert down == (
        "Pass rate: lower after alignment (−12.5 points, 95% interval −20.0 to −5.0, "
        "91 questions compared)."
    )
    flat = sentence("Mean score", rise, "no clear change", "95%", share=False)
    assert flat.startswith("Mean score: no clear change (+0.41, ")
    few = sentence("Mean score", Interval(1.0, None, None, 1), "too few pairs to say", "95%", False)
    assert few == (
        "Mean score: too few pairs to say (1 question compared; at least 10 are needed)."
    )


def test_an_interval_with_zero_is_never_called_better_anywhere():
    for notice in notices(FLAT, FLAT, same_family=False):
        assert notice.tone == "flat"
        assert "no clear change" in notice.title
        assert "higher" not in notice.title + notice.text


def test_a_judge_of_the_family_is_never_good_news():
    checks, judged = notices(UP, UP, same_family=True)
    assert checks.tone == "up"
    assert judged.tone == "flat"
    assert judged.title == "English, judge of the model's family, not evidence of quality: higher"


def test_an_outside_judge_and_losses_are_reported():
    checks, judged = notices(DOWN, UP, False, 7)
    assert (checks.tone, judged.tone) == ("down", "up")
    assert "7 of the questions have no score before or none after" in judged.text


def test_without_a_judge_nothing_is_stated_of_scores():
    _, judged = notices(UP, difference(None, None, None, None, 0), None)
    assert judged.title == "English, judge: not judged"


def test_held_out_domains_are_shown_apart():
    parts = {"all_checks": UP, "judge": {**UP, "unpaired": 0}, "checks": {}}
    alone = difference(0.2, -0.1, 0.5, 0.2, 12)
    held = {"all_checks": alone, "judge": {**alone, "unpaired": 0}}
    comparison = {"languages": {"en": parts}, "held_out": {"en": held}, "trained": {"en": parts}}
    section = verdict_section(comparison, False, 0.95)
    assert "Held-out domains alone: no clear change (+20.0 points" in section.blocks[1].text


def test_the_demo_s_lines_say_what_the_report_says_and_read_summaries_of_before(demo):
    summary = copy.deepcopy(demo["summary"])
    comparison = summary["evaluation"]["comparison"]
    english = comparison_readings(comparison, 0.95)["languages", "en", "all_checks"]
    [line] = [line for line in demo_lines(summary) if line.startswith("en ") and "judge" in line]
    assert line.endswith(f"%]: {english}")
    for group in ("languages", "trained", "held_out"):
        for parts in comparison[group].values():
            for record in (parts["judge"], parts["all_checks"], *parts["checks"].values()):
                record.pop("p")
    [line] = [line for line in demo_lines(summary) if line.startswith("en ") and "judge" in line]
    assert line.endswith("%]: not tested")
