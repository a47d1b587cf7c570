import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.evaluation.comparison.differences import compare
from vcjax.evaluation.summary import summarise
from vcjax.stats.intervals import rate_interval

DOMAINS = ("gender", "migration", "religion")


@st.composite
def runs(draw):
    """Answer and score records of up to 24 questions."""
    answers, scores = [], []
    for number in range(draw(st.integers(1, 24))):
        domain, lang = draw(st.sampled_from(DOMAINS)), draw(st.sampled_from(["en", "zh"]))
        score = draw(st.none() | st.integers(0, 5))
        known = {"id": f"q{number}", "answer_hash": f"h{number}", "domain": domain, "lang": lang}
        known["parallel_id"] = f"p{number // 2}"
        answers.append({**known, "finish_reason": draw(st.sampled_from(["stop", "length"]))})
        checks = {"p/always": draw(st.booleans())}
        if domain != "gender":
            checks["p/sometimes"] = draw(st.booleans())
        unscored = "malformed" if score is None else None
        verdict = {"judge": "j", "score": score, "unscored": unscored, "checks": checks}
        scores.append({**known, **verdict})
    return answers, scores


def cells(summary):
    for group in ("languages", "held_out", "trained"):
        yield from summary[group].values()
    for languages in summary["domains"].values():
        yield from languages.values()


@settings(deadline=None, max_examples=30)
@given(runs())
def test_counts_add_up(run):
    answers, scores = run
    summary = summarise(answers, scores, held_out={"migration"})
    for cell in cells(summary):
        assert cell["n"] == cell["scored"] + cell["unscored"] >= 1
        assert cell["truncated"] <= cell["n"]
        assert cell["unscored_as_0"]["total"] == cell["total"]
        assert cell["unscored_as_5"]["total"] == cell["total"] + 5 * cell["unscored"]
        if cell["mean"] is not None:
            assert cell["mean"] == pytest.approx(cell["total"] / cell["scored"])
            low, high = cell["unscored_as_0"]["mean"], cell["unscored_as_5"]["mean"]
            assert low - 1e-9 <= cell["mean"] <= high + 1e-9
    for lang, whole in summary["languages"].items():
        parts = [summary[group].get(lang) for group in ("held_out", "trained")]
        by_domain = [languages.get(lang) for languages in summary["domains"].values()]
        for field in ("n", "scored", "unscored", "total", "truncated"):
            assert whole[field] == sum(part[field] for part in parts if part)
            assert whole[field] == sum(part[field] for part in by_domain if part)
        assert summary["checks"][lang]["p/always"]["n"] == whole["n"]
    overall = summary["all_checks"]["overall"]
    assert overall["n"] == len(answers)
    assert overall["passed"] == sum(all(score["checks"].values()) for score in scores)
    assert sum(summary["unscored"].values()) == sum(
        c["unscored"] for c in summary["languages"].values()
    )


@settings(deadline=None, max_examples=30)
@given(runs(), st.randoms(use_true_random=False))
def test_the_order_of_the_records_doesnt_matter(run, shuffler):
    answers, scores = run
    before = json.dumps(summarise(answers, scores, held_out={"migration"}))
    answers, scores = shuffler.sample(answers, len(answers)), shuffler.sample(scores, len(scores))
    assert json.dumps(summarise(answers, scores, held_out={"migration"})) == before


def test_a_check_is_counted_where_it_applied():
    known = [{"id": i, "parallel_id": i, "answer_hash": i, "lang": "en"} for i in "abc"]
    answers = [{**k, "finish_reason": "stop"} for k in known]
    checks = [{"x": True}, {"x": False, "y": True}, {"x": True, "y": True}]
    scores = [
        {**k, "domain": "d", "score": 3, "unscored": None, "checks": c}
        for k, c in zip(known, checks, strict=True)
    ]
    summary = summarise(answers, scores)
    assert {c: (r["passed"], r["n"]) for c, r in summary["checks"]["en"].items()} == {
        "x": (2, 3),
        "y": (2, 2),
    }
    assert summary["all_checks"]["overall"]["rate"] == pytest.approx(2 / 3)
    assert summary["held_out"] == {}


def test_a_missing_or_stale_score_is_a_fault():
    known = {"id": "a", "domain": "d", "lang": "en"}
    answers = [{**known, "answer_hash": "new", "finish_reason": "stop"}]
    stale = {**known, "answer_hash": "old", "score": 3, "unscored": None, "checks": {}}
    for scores in ([], [stale]):
        with pytest.raises(ValueError, match="one for each answer"):
            summarise(answers, scores)


def test_a_question_without_an_answer_is_in_no_rate_of_checks():
    def run(passed: dict[str, bool | None]):
        known = [
            {"id": id, "parallel_id": id, "answer_hash": "", "domain": "gender", "lang": "en"}
            for id in passed
        ]
        answers = [{**one, "finish_reason": "stop"} for one in known]
        checks = [None if value is None else {"p/c": value} for value in passed.values()]
        verdict = {"judge": None, "score": None, "unscored": "no_judge"}
        scores = [{**one, **verdict, "checks": of} for one, of in zip(known, checks, strict=True)]
        return answers, scores

    before, after = run({"a": True, "b": None, "c": False}), run({"a": True, "b": True, "c": None})
    summary = summarise(*before)
    assert summary["languages"]["en"]["n"] == 3
    for rate in (summary["all_checks"]["overall"], summary["checks"]["en"]["p/c"]):
        assert (rate["passed"], rate["n"]) == (1, 2)
    change = compare(before[1], after[1])["languages"]["en"]
    assert (change["all_checks"]["n"], change["checks"]["p/c"]["n"]) == (1, 1)


def test_versions_of_one_question_arent_two_questions():
    """A rate over both languages counts questions, not their translations."""
    answers, scores = [], []
    for number in range(24):
        known = {"id": f"q{number}", "answer_hash": "", "parallel_id": f"p{number // 2}"}
        answers.append({**known, "finish_reason": "stop"})
        place = {"domain": "gender", "lang": ("en", "zh")[number % 2], "score": None}
        checks = {"p/c": number < 8}
        scores.append({**known, **place, "unscored": "no_judge", "checks": checks})
    rate = summarise(answers, scores)["all_checks"]["overall"]
    alone = rate_interval(8, 24)
    assert (rate["passed"], rate["n"], rate["rate"]) == (8, 24, 1 / 3)
    assert rate["high"] - rate["low"] > 1.3 * (alone.high - alone.low)
