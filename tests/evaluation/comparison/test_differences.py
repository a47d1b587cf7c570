import random

import pytest

from vcjax.core.errors import UserError
from vcjax.evaluation.comparison.differences import compare

DOMAINS = ("gender", "migration", "religion")


def scored(values, passes, judge="j", lang="en"):
    return [
        {
            "id": f"q{number:02}",
            "parallel_id": f"q{number:02}",
            "domain": DOMAINS[number % 3],
            "lang": lang,
            "judge": judge,
            "score": value,
            "checks": {"p/c": passed},
        }
        for number, (value, passed) in enumerate(zip(values, passes, strict=True))
    ]


def test_runs_are_compared_question_by_question():
    before = scored([1, 2, 3, None, 2, 1], [False] * 6)
    after = scored([3, 4, 5, 5, None, 2], [True] * 5 + [False])
    english = compare(before, random.Random(0).sample(after, 6))["languages"]["en"]
    assert english["judge"]["n"] == 4
    assert english["judge"]["unpaired"] == 2
    assert english["judge"]["difference"] == pytest.approx((2 + 2 + 2 + 1) / 4)
    assert english["judge"]["after"] - english["judge"]["before"] == pytest.approx(7 / 4)
    assert english["all_checks"]["difference"] == pytest.approx(5 / 6)
    assert english["checks"]["p/c"] == {**english["checks"]["p/c"], "before": 0, "n": 6}
    assert english["judge"]["low"] <= english["judge"]["difference"] <= english["judge"]["high"]


def test_a_run_compared_with_itself_shows_no_difference():
    run = scored([1, 2, 3, 4, 5, 0], [True, False] * 3)
    result = compare(run, run, held_out={"migration"})
    assert result["held_out"]["en"]["judge"]["n"] == 2
    assert result["trained"]["en"]["judge"]["n"] == 4
    for group in (result["languages"], result["held_out"], result["trained"]):
        for part in (group["en"]["judge"], group["en"]["all_checks"]):
            assert (part["difference"], part["p"]) == (0, 1)
            assert part["low"] < 0 < part["high"]


def test_runs_that_cant_be_compared_are_a_users_mistake():
    run = scored([1, 2, 3], [True] * 3)
    with pytest.raises(UserError, match="'q02' is in one only"):
        compare(run, run[:2])
    with pytest.raises(UserError, match="other judges"):
        compare(run, scored([1, 2, 3], [True] * 3, judge="k"))
    with pytest.raises(UserError, match="other checks"):
        compare(run, [{**record, "checks": {}} for record in run])
    with pytest.raises(UserError, match="two scores"):
        compare(run, run + run[:1])


def test_each_difference_has_the_p_value_of_no_change():
    before, after = scored([3] * 13, [False] * 13), scored([3] * 13, [True] * 3 + [False] * 10)
    english = compare(before, after)["languages"]["en"]
    assert english["all_checks"]["p"] == english["checks"]["p/c"]["p"] == 0.25
    assert english["all_checks"]["low"] < 0 < english["all_checks"]["high"]
    assert english["judge"]["low"] < 0 < english["judge"]["high"]
