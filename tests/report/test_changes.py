"""Verdicts state what the paired intervals allow, and no more."""

import pytest

from vcjax.report.changes import reading, sentence, verdict_section
from vcjax.stats.intervals import Interval


def difference(value, low, high, n=40):
    return {"n": n, "before": 2.0, "after": 2.0, "difference": value, "low": low, "high": high}


def notices(checks, judged, same_family, unpaired=0):
    parts = {"judge": {**judged, "unpaired": unpaired}, "all_checks": checks, "checks": {}}
    comparison = {"languages": {"en": parts}, "held_out": {}, "trained": {}}
    section = verdict_section(comparison, same_family, "95%")
    return [block for block in section.blocks if block.kind == "notice"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.5, "higher"),
        (-0.5, -0.1, "lower"),
        (-0.1, 0.5, "no measurable change"),
        (0.0, 0.5, "no measurable change"),
        (-0.5, 0.0, "no measurable change"),
        (0.0, 0.0, "no measurable change"),
        (None, None, "too few pairs to say"),
    ],
)
def test_reading_follows_the_interval(low, high, expected):
    assert reading(Interval(0.3, low, high, 40)) == expected


def test_a_handful_of_equal_pairs_is_no_improvement():
    assert reading(Interval(1.0, 1.0, 1.0, 3)) == "too few pairs to say"


def test_sentences():
    up = sentence("Mean score", Interval(0.41, 0.2, 0.62, 91), "95%", share=False)
    assert up == (
        "Mean score: higher after alignment (+0.41, 95% interval +0.20 to +0.62, "
        "91 questions compared)."
    )
    down = sentence("Pass rate", Interval(-0.125, -0.2, -0.05, 91), "95%", share=True)
    assert down == (
        "Pass rate: lower after alignment (−12.5 points, 95% interval −20.0 to −5.0, "
        "91 questions compared)."
    )
    flat = sentence("Mean score", Interval(0.41, -0.1, 0.9, 91), "95%", share=False)
    assert flat.startswith("Mean score: no measurable change (+0.41, ")
    few = sentence("Mean score", Interval(1.0, None, None, 1), "95%", share=False)
    assert few == (
        "Mean score: too few pairs to say (1 question compared; at least 10 are needed)."
    )


def test_an_interval_with_zero_is_never_called_better_anywhere():
    flat = difference(0.4, -0.01, 0.8)
    for notice in notices(flat, flat, same_family=False):
        assert notice.tone == "flat"
        assert "no measurable change" in notice.title
        assert "higher" not in notice.title + notice.text


def test_a_judge_of_the_family_is_never_good_news():
    up = difference(0.4, 0.2, 0.6)
    checks, judged = notices(up, up, same_family=True)
    assert checks.tone == "up"
    assert judged.tone == "flat"
    assert judged.title == "English, judge of the model's family, not evidence of quality: higher"


def test_an_outside_judge_and_losses_are_reported():
    checks, judged = notices(difference(-0.2, -0.3, -0.1), difference(0.4, 0.2, 0.6), False, 7)
    assert (checks.tone, judged.tone) == ("down", "up")
    assert "7 of the questions have no score before or none after" in judged.text


def test_without_a_judge_nothing_is_stated_of_scores():
    _, judged = notices(difference(0.1, 0.05, 0.2), difference(None, None, None, 0), None)
    assert judged.title == "English, judge: not judged"


def test_held_out_domains_are_shown_apart():
    parts = {"all_checks": difference(0.2, 0.1, 0.3), "checks": {}}
    parts["judge"] = {**difference(0.2, 0.1, 0.3), "unpaired": 0}
    held = {"all_checks": difference(0.2, -0.1, 0.5, 12)}
    held["judge"] = {**difference(0.2, -0.1, 0.5, 12), "unpaired": 0}
    comparison = {"languages": {"en": parts}, "held_out": {"en": held}, "trained": {}}
    section = verdict_section(comparison, False, "95%")
    assert "Held-out domains alone: no measurable change (+20.0 points" in section.blocks[1].text
