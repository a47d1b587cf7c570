"""Scores that were given already, from files with anyone's columns."""

import json

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text
from vcjax.evaluation.judging.people import parse_labels, read_ratings
from vcjax.evaluation.run import evaluate, read_scores
from vcjax.evaluation.subject import EvaluationSettings, Subject

PEOPLE = "item,rater,grade,why\nmigration-0-en,ann,4,fair\nmigration-0-en,bob,2,\n"


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return f"scores:{path}"


COLUMNS = "id:item,judge:rater,score:grade,reason:why"


def test_each_annotator_of_a_mapped_file_is_a_judge_of_the_human_family(tmp_path):
    ann, bob = read_ratings(written(tmp_path / "people.csv", PEOPLE), COLUMNS)
    assert (ann.name, ann.family, bob.name) == ("ann", "human", "bob")
    assert (ann.ratings[0].score, ann.ratings[0].reason, bob.ratings[0].reason) == (4, "fair", None)


def test_two_columns_of_one_file_are_two_judges(tmp_path):
    text = "id,a1,a2\nx,1_full_compliance,2_full_refusal\n"
    path = written(tmp_path / "labels.csv", text)
    for column, label in (("a1", "1_full_compliance"), ("a2", "2_full_refusal")):
        (judge,) = read_ratings(path, f"score:{column}", "gpt4")
        assert (judge.name, judge.family) == (f"scores:labels.csv#{column}", "gpt4")
        assert judge.ratings[0].score == label


def test_words_are_scores_by_their_labels(tmp_path):
    text = "id,score\na,aligned\nb,refusal: partial\nc,unclear\nd,4\ne,\n"
    labels = "aligned:5, refusal: partial:1.5,unclear:"
    (judge,) = read_ratings(written(tmp_path / "labels.csv", text), labels=labels)
    assert [rating.score for rating in judge.ratings] == [5, 1.5, None, 4, None]
    assert {rating.unscored for rating in judge.ratings[2::2]} == {"not rated"}
    # Numbers can be labels, too, as of a scale from 1 to 3.
    text = '{"id": "a", "score": 1}\n{"id": "b", "score": 3.0}'
    (judge,) = read_ratings(written(tmp_path / "labels.jsonl", text), labels="1:0,3.0:5")
    assert [rating.score for rating in judge.ratings] == [0, 5]
    assert parse_labels("") == {}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("aligned:5", r"labels.csv:3: no label 'alinged' in .*\(aligned\); did you mean 'aligned'"),
        ("aligned", "labels: 'aligned' must be LABEL:SCORE"),
        ("aligned:five", "the score of 'aligned' is 'five', not a number"),
        ("aligned:6", "the score of 'aligned' is not within 0 and 5"),
        ("aligned:nan", "the score of 'aligned' is not within 0 and 5"),
        ("aligned:5,aligned:4", "'aligned' is given twice"),
    ],
)
def test_bad_labels_are_a_users_mistake(tmp_path, labels, message):
    path = written(tmp_path / "labels.csv", "id,score\na,aligned\nb,alinged\n")
    with pytest.raises(UserError, match=message):
        read_ratings(path, labels=labels)


def test_of_score_records_the_last_of_a_verdict_counts(tmp_path):
    lines = [{"id": "x", "judge": "ann", "sample": 0, "score": score} for score in (1, 2)]
    lines.append({"id": "x", "judge": "ann", "sample": 1, "score": 5})
    path = written(tmp_path / "scores.jsonl", "\n".join(map(json.dumps, lines)))
    (judge,) = read_ratings(path)
    assert [(rating.score, rating.sample) for rating in judge.ratings] == [(2, 0), (5, 1)]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("id,grade\nx,3\n", "", r"people.csv:2: no column 'score'; .*score:NAME.*'grade'"),
        ("id,score\nx,3\nx,4\n", "", "csv:3: scores:people.csv has scored 'x' at .*csv:2"),
        ("id,score\n,3\n", "", "the id is empty"),
        ("id,score\n", "", "no scores"),
        ("id,score\nx,3\n", "scroe:grade", "columns: 'scroe' is no column of those here"),
    ],
)
def test_a_bad_file_is_a_users_mistake(tmp_path, text, columns, message):
    with pytest.raises(UserError, match=message):
        read_ratings(written(tmp_path / "people.csv", text), columns)


def test_peoples_scores_are_a_judge_like_any_other(charter, small, recorded, tmp_path):
    answers = {f"{item.id}/answer": f"Answer {n}." for n, item in enumerate(small.items)}
    texts = {
        f"{item.id}/judge": json.dumps({"reason": "", "score": min(5, n % 4 + 1)})
        for n, item in enumerate(small.items)
    }
    rows = [
        {"id": item.id, "score": n % 4, "answer_hash": hash_text(f"Answer {n}.")}
        for n, item in enumerate(small.items)
    ]
    rows[0]["score"], rows[1]["score"], rows[2]["score"] = "nan", 9, "good"
    rows[3]["answer_hash"] = hash_text("Another answer.")
    del rows[4]
    path = written(tmp_path / "people.jsonl", "\n".join(map(json.dumps, rows)))

    def go():
        model = recorded(tmp_path / "model.jsonl", answers, "smollm2")
        judge = recorded(tmp_path / "judge.jsonl", texts, "other")
        judges = [judge, *read_ratings(path)]
        subject = Subject(model, judges, charter, EvaluationSettings())
        return evaluate(subject, small, tmp_path / "run")

    summary = go()
    people = summary["judges"]["scores:people.jsonl"]
    assert people["family"] == "human"
    assert people["unscored"] == {
        "not a number": 2,
        "not rated": 1,
        "other answer": 1,
        "out_of_range": 1,
    }
    errors = summary["agreement"]["errors"]
    assert summary["agreement"]["people"] == ["scores:people.jsonl"]
    assert errors["n"] == 7
    assert errors["judges"]["recorded:judge.jsonl"]["bias"]["value"] == 1
    assert errors["judges"]["recorded:judge.jsonl"]["spearman"]["value"] == pytest.approx(1)
    assert go() == summary
    written(tmp_path / "people.jsonl", "\n".join(map(json.dumps, [{**rows[5], "score": 0}])))
    assert go()["judges"]["scores:people.jsonl"]["failed"] == 11
    scores = {record["id"]: record["score"] for record in read_scores(tmp_path / "run")}
    assert scores[rows[5]["id"]] == (0 + json.loads(texts[f"{rows[5]['id']}/judge"])["score"]) / 2
