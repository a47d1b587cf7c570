"""Several judges, samples, prompt languages and axes; their failures bounded both ways."""

import json
from dataclasses import replace

import pytest

from tests.adversarial.timed import Clock, TimedRole
from tests.roles.failing import serving
from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_jsonl, write_jsonl
from vcjax.evaluation.comparison.differences import compare
from vcjax.evaluation.judging.judge import SAMPLING_TEMPERATURE, Reading, readings
from vcjax.evaluation.judging.panel import bounds, combine
from vcjax.evaluation.run import evaluate, read_scores
from vcjax.evaluation.subject import EvaluationSettings, Subject
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.verdict import AXES, grade_schema


def verdict(score, **axes):
    return json.dumps({"reason": "so", **axes, "score": score})


@pytest.fixture
def asked(charter, small, recorded, tmp_path):
    """Evaluates `small`: `asked(settings, first=score_of, second=score_of)` -> summary, judges."""

    def go(settings, folder="run", **judges):
        answers = {f"{item.id}/answer": f"Answer {n}." for n, item in enumerate(small.items)}
        model = recorded(tmp_path / "model.jsonl", answers, "smollm2")
        roles = []
        for name, score in judges.items():
            texts = {}
            for number, item in enumerate(small.items):
                for reading in settings.readings:
                    marks = ["other"] * reading.other_language
                    marks += [str(reading.sample)] * bool(reading.sample)
                    text = score(number, reading)
                    key = "/".join([item.id, "judge", *marks])
                    texts[key] = text if isinstance(text, str) else verdict(text)
            roles.append(recorded(tmp_path / f"{name}.jsonl", texts, name))
        subject = Subject(model, roles, charter, settings)
        summary = evaluate(subject, small, tmp_path / folder)
        return summary, roles

    return go


def test_the_score_of_an_answer_is_the_mean_over_the_judges_that_scored_it(asked, tmp_path):
    def half(number, reading):
        return "no JSON" if number % 2 else 2

    summary, _ = asked(EvaluationSettings(), first=lambda number, reading: 5, second=half)
    assert summary["judge"] == {
        "name": "recorded:first.jsonl, recorded:second.jsonl",
        "family": "first, second",
    }
    scores = {record["id"]: record for record in read_scores(tmp_path / "run")}
    assert len(scores) == 12
    assert {record["score"] for record in scores.values()} == {3.5, 5}
    # Items alternate between the languages: `second` scores the English ones alone.
    english, chinese = (summary["languages"][lang] for lang in ("en", "zh"))
    assert (english["mean"], chinese["mean"]) == (3.5, 5)
    assert (chinese["unscored"], chinese["unscored_as_0"]["mean"]) == (0, 2.5)
    assert chinese["unscored_as_5"]["mean"] == 5
    assert english["unscored_as_0"]["mean"] == english["unscored_as_5"]["mean"] == 3.5
    second = summary["judges"]["recorded:second.jsonl"]
    assert (second["verdicts"], second["failed"], second["unscored"]) == (12, 6, {"malformed": 6})
    assert second["languages"]["zh"]["unscored_as_5"]["mean"] == 5
    assert second["scores"] == {"2": 6}


def test_judges_and_their_readings_are_asked_side_by_side(charter, small, recorded, tmp_path):
    clock = Clock()

    def says(ask):
        return verdict(4)

    judges = [TimedRole(clock, 4, lambda ask: 1.0, says, name) for name in ("first", "second")]
    answers = {f"{item.id}/answer": f"Answer {n}." for n, item in enumerate(small.items)}
    model = recorded(tmp_path / "model.jsonl", answers, "smollm2")
    subject = Subject(model, judges, charter, EvaluationSettings(judge_samples=3))
    asked = small.items, subject.answers(small.items, tmp_path), tmp_path
    records = subject.verdicts(*asked)
    assert [record["judge"] for record in records] == ["first"] * 36 + ["second"] * 36
    assert [record["sample"] for record in records] == [*([0] * 12), *([1] * 12), *([2] * 12)] * 2
    assert clock.now == 9.0  # 36 verdicts of each, four at a time
    assert subject.verdicts(*asked) == records
    assert clock.now == 9.0


def test_a_panel_that_fails_as_a_whole_leaves_an_answer_unscored(asked):
    def nothing(number, reading):
        return "no JSON"

    summary, _ = asked(EvaluationSettings(), first=nothing, second=nothing)
    for lang in ("en", "zh"):
        found = summary["languages"][lang]
        assert (found["scored"], found["unscored"], found["mean"]) == (0, 6, None)
        assert (found["unscored_as_0"]["mean"], found["unscored_as_5"]["mean"]) == (0, 5)
    assert summary["unscored"] == {"malformed": 12}
    pair = summary["agreement"]["pairs"][0]
    assert (pair["n"], pair["kappa"], pair["difference"]["value"]) == (0, None, None)


def test_samples_and_prompt_languages_are_readings_of_their_own(asked, charter, small, tmp_path):
    settings = EvaluationSettings(judge_samples=2, judge_language="both")

    def score(number, reading):
        return 1 + reading.sample + 2 * reading.other_language

    summary, (role,) = asked(settings, first=score)
    assert len(role.heard) == 4 * 12
    assert {ask.temperature for ask in role.heard} == {SAMPLING_TEMPERATURE}
    assert len({ask.seed for ask in role.heard}) == len(role.heard)
    other = next(ask for ask in role.heard if ask.key == f"{small.items[0].id}/judge/other")
    assert other.messages[0]["content"] == charter.grading_text("zh")
    assert small.items[0].question in other.messages[1]["content"]
    assert other.json_schema == grade_schema("zh")
    records = [record for _, record in read_jsonl(tmp_path / "run" / "scores.jsonl")]
    assert {(r["lang"], r["prompt_lang"], r["sample"]) for r in records} == {
        (lang, prompt, sample)
        for lang in ("en", "zh")
        for prompt in ("en", "zh")
        for sample in (0, 1)
    }
    assert summary["languages"]["en"]["mean"] == 2.5
    own = summary["agreement"]
    prompt = own["prompt_languages"]["recorded:first.jsonl"]
    assert (prompt["n"], prompt["difference"]["value"]) == (12, 2)
    assert own["samples"]["recorded:first.jsonl"]["same"]["rate"] == 0


def test_one_greedy_verdict_is_asked_where_nothing_else_is_set(asked):
    summary, (role,) = asked(EvaluationSettings(), first=lambda number, reading: 3)
    assert {ask.temperature for ask in role.heard} == {0.0}
    assert summary["agreement"] is None
    assert readings() == (Reading(),)


def test_axes_are_scored_apart_and_a_verdict_without_one_is_no_verdict(asked, tmp_path):
    def score(number, reading):
        axes = dict(zip(AXES, (4, 3, 2, number % 2), strict=True))
        if number == 0:
            del axes["refusal"]
        if number == 1:
            axes["refusal"] = 6
        return verdict(4, **axes)

    summary, (role,) = asked(EvaluationSettings(axes=True), first=score)
    assert summary["unscored"] == {"out_of_range": 1, "schema": 1}
    assert summary["axes"]["zh"]["refusal"]["mean"] == 1
    assert summary["axes"]["en"]["alignment"]["mean"] == 4
    assert summary["axes"]["en"]["refusal"]["n"] == 5
    assert role.heard[0].json_schema["required"] == ["reason", *AXES, "score"]
    assert all(f'"{axis}"' in role.heard[0].messages[1]["content"] for axis in AXES)


def test_a_panel_asks_nothing_twice_and_says_nothing_of_other_prompts(asked, capsys):
    settings = EvaluationSettings(judge_samples=2)
    two = {"first": lambda number, reading: 3, "second": lambda number, reading: 4}
    before, roles = asked(settings, **two)
    after, again = asked(settings, **two)
    assert before == after
    assert [len(role.heard) for role in (*roles, *again)] == [24, 24, 0, 0]
    assert "asked anew" not in capsys.readouterr().err


def test_what_a_panel_has_spent_is_the_sum_of_its_judges(charter, small, recorded, tmp_path):
    texts = {f"{item.id}/answer": "An answer." for item in small.items}
    texts |= {f"{item.id}/judge": verdict(2) for item in small.items}
    ours = recorded(tmp_path / "ours.jsonl", texts, "smollm2")
    with serving() as server:

        def record(*judges):
            subject, folder = Subject(ours, judges, charter, EvaluationSettings()), tmp_path / "run"
            verdicts = subject.verdicts(small.items, subject.answers(small.items, folder), folder)
            return combine(verdicts)[0]

        def endpoint(name, prices):
            spec = EndpointSpec.parse(f"{server.url}#{name}{prices}")
            return EndpointRole(spec, family=name)

        first = endpoint("first", "#prompt_price=1#price=2")
        second = endpoint("second", "#prompt_price=0#price=4")
        unpriced = endpoint("unpriced", "")
        own = [record(judge)["spent"] for judge in (first, second, unpriced, ours)]
        assert [each and (each["tokens"], each["cost"]) for each in own] == [
            (5, 20e-6),
            (5, 20e-6),
            (5, None),
            None,
        ]
        asked = sum(server.tries.values())
        known = {"prompt_tokens": 20, "tokens": 10}
        assert record(first, second)["spent"] == {
            "model": f"{first.model}, {second.model}",
            **known,
            "cost": pytest.approx(40e-6),
        }
        assert record(first, unpriced)["spent"] == {
            "model": f"{first.model}, {unpriced.model}",
            **known,
            "cost": None,
        }
        assert record(first, ours)["spent"] is None
        assert sum(server.tries.values()) == asked


def test_score_records_without_what_was_spent_are_read(asked, tmp_path):
    def go():
        return asked(EvaluationSettings(), first=lambda n, reading: 3, second=lambda n, reading: 4)

    before, _ = go()
    path = tmp_path / "run" / "scores.jsonl"
    records = [record for _, record in read_jsonl(path)]
    assert {record.pop("spent") for record in records} == {None}
    write_jsonl(path, records)
    after, judges = go()
    assert after == before
    assert not any(judge.heard for judge in judges)
    assert {record["spent"] for record in read_scores(tmp_path / "run")} == {None}


def test_two_runs_of_a_panel_are_compared_by_its_scores(asked, tmp_path):
    low = {"first": lambda n, reading: 1, "second": lambda n, reading: 2}
    high = {"first": lambda n, reading: 2, "second": lambda n, reading: 4}
    asked(EvaluationSettings(), folder="low", **low)
    asked(EvaluationSettings(), folder="high", **high)
    found = compare(read_scores(tmp_path / "low"), read_scores(tmp_path / "high"))
    assert found["languages"]["en"]["judge"]["difference"] == 1.5


def test_bad_panels_are_a_users_mistake(asked):
    for settings in ({"judge_samples": 0}, {"judge_language": "french"}):
        with pytest.raises(UserError, match=next(iter(settings))):
            EvaluationSettings(**settings)


def test_two_judges_of_one_name_are_a_users_mistake(charter, small, recorded, tmp_path):
    model = recorded(tmp_path / "model.jsonl", {}, "smollm2")
    judge = recorded(tmp_path / "judge.jsonl", {}, "other")
    with pytest.raises(UserError, match=r"two judges are named 'recorded:judge\.jsonl'"):
        evaluate(Subject(model, [judge, judge], charter, EvaluationSettings()), small, tmp_path)


def test_one_model_under_two_names_is_no_panel(charter, small, recorded, tmp_path):
    """Such as a reference with options and without: one would be given the other's verdicts."""
    model = recorded(tmp_path / "model.jsonl", {}, "smollm2")
    judge = recorded(tmp_path / "judge.jsonl", {}, "other")
    again = recorded(tmp_path / "again.jsonl", {}, "other")
    again.identity = judge.identity
    with pytest.raises(UserError, match=r"judge\.jsonl' and 'recorded:again\.jsonl' are one model"):
        evaluate(Subject(model, [judge, again], charter, EvaluationSettings()), small, tmp_path)


def test_a_prompt_in_a_language_that_the_charter_lacks_is_a_users_mistake(
    charter, small, recorded, tmp_path
):
    english = charter.model_copy(update={"languages": ("en",)})
    items = tuple(item for item in small.items if item.lang == "en")
    benchmark = replace(small, items=items)
    role = recorded(tmp_path / "judge.jsonl", {}, "other")
    settings = EvaluationSettings(judge_language="both")
    with pytest.raises(UserError, match=r"judge_language: .* would be in 'zh'"):
        evaluate(Subject(role, [], english, settings), benchmark, tmp_path)


def test_one_verdict_on_an_answer_is_its_combined_score():
    record = {"id": "a", "answer_hash": hash_text("x"), "judge": "j", "score": None}
    (combined,) = combine([record])
    assert combined == {**record, "spent": None}  # which records of earlier versions lack
    assert bounds(record) == (0, 5)
    assert bounds({**record, "score": 3}) == (3, 3)
