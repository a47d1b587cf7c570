import shutil

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_jsonl
from vcjax.core.lineage import write_lineage
from vcjax.evaluation.comparison.reading import read_run, read_runs


def test_a_finished_evaluation_is_read(workdir):
    run = read_run(workdir("a", lambda item: 3), "base")
    assert (run.name, run.tool, run.scale, len(run.records)) == ("base", "vcjax", (0, 5), 48)
    first = run.records[0]
    assert (first["id"], first["score"], first["judge"]) == ("domain_00-0-en", 3, "judge")
    assert run.about == {"model": "a", "judge": "judge", "charter": "universal", "benchmark": "b"}


def test_of_a_model_that_was_changed_in_place_the_present_answers_count(workdir):
    """The file has the answers of both; those of the one that came back are above the others."""

    def edit(answers, scores):
        other = [{**each, "answer_hash": "x" + each["answer_hash"]} for each in answers]
        judged = [{**each, "answer_hash": "x" + each["answer_hash"], "score": 0} for each in scores]
        marked = [{**each, "fingerprint": "g", "model_hash": "other"} for each in other]
        return answers + marked, scores + judged

    folder = workdir("a", lambda item: 4, edit=edit)
    parent = {"role": "model", "reference": "a", "hash": "a", "path": None}

    class Known:
        def to_record(self, home):
            return parent

    write_lineage(folder, kind="evaluate", parents=[Known()], config={})
    assert {record["score"] for record in read_run(folder, "a").records} == {4}


def test_of_several_judges_and_samples_the_mean_counts(workdir):
    def edit(answers, scores):
        panel = []
        for each in scores:
            for judge, values in {"one": (1, 3), "two": (5, None)}.items():
                for sample, value in enumerate(values):
                    own = {"judge": judge, "sample": sample, "score": value}
                    panel.append({**each, **own, "unscored": None if value else "malformed"})
        return answers, panel

    records = read_run(workdir("a", lambda item: 4, edit=edit), "a").records
    assert {(record["score"], record["judge"]) for record in records} == {(3.5, "one, two")}


def test_a_panel_s_score_that_is_no_number_is_named(workdir):
    def edit(answers, scores):
        second = [{**each, "judge": "two", "score": 5} for each in scores]
        second[0]["score"], second[1]["score"] = "high", float("nan")
        return answers, scores + second

    run = read_run(workdir("a", lambda item: 3, edit=edit), "a")
    scores = [record["score"] for record in run.records]
    assert scores == [None, None, *[4.0] * 46]
    assert any("score that is not a number" in each for each in run.problems)
    assert any("score that is NaN" in each for each in run.problems)


def test_what_is_no_finished_evaluation_is_a_users_mistake(workdir, tmp_path):
    folder = workdir("a", lambda item: 3)
    with pytest.raises(UserError, match="no such file or folder"):
        read_run(tmp_path / "absent", "x")
    (unfinished := tmp_path / "unfinished").mkdir()
    shutil.copy(folder / "answers.jsonl", unfinished)
    with pytest.raises(UserError, match=r"no lineage\.json"):
        read_run(unfinished, "x")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "scores.jsonl").unlink()
    with pytest.raises(UserError, match=r"scores\.jsonl: no such file"):
        read_run(other, "x")
    write_lineage(other, kind="train", parents=[], config={})
    with pytest.raises(UserError, match=r"launch\.train"):
        read_run(other, "x")
    with pytest.raises(UserError, match="2 names for 1 runs"):
        read_runs([str(folder)], ["x", "y"])


def test_a_run_is_called_by_its_folder(workdir, tmp_path):
    folder = workdir("a", lambda item: 3)
    (tmp_path / "b").mkdir()
    shutil.copytree(folder, tmp_path / "b" / "a")
    paths = [str(folder), str(tmp_path / "b" / "a")]
    assert [run.name for run in read_runs(paths[:1])] == ["a"]
    assert [run.name for run in read_runs(paths)] == paths


def test_flaws_are_named_and_the_numbers_stay_right(workdir):
    """Duplicates, an answer without text, scores that are none, a question without its parallel."""

    def edit(answers, scores):
        answers[0]["answer"] = " "
        scores[1]["score"], scores[2]["score"], scores[3]["score"] = float("nan"), 7, "high"
        gone = answers[5]["id"]
        scores = [each for each in scores if each["id"] != answers[4]["id"]]
        answers = [*answers, answers[7]]
        return [each for each in answers if each["id"] != gone], scores

    run = read_run(workdir("a", lambda item: len(item["id"]) % 2 + 3, edit=edit), "a")
    assert len(run.records) == len({record["id"] for record in run.records}) == 47
    scored = {record["id"] for record in run.records if record["score"] is not None}
    assert len(scored) == 47 - 4
    text = " | ".join(run.problems)
    for part in (
        "1 question with a second record",
        "1 question with an empty answer",
        "score that is NaN",
        "score that is outside 0 to 5",
        "score that is not a number",
        "4 questions without a score",
        "1 question without a version in another language (domain_00-2)",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("score", "problem"),
    [
        (lambda item: 5, "The judge gave all 48 answers the score 5"),
        (lambda item: None, "The judge has scored none of 48 answers (malformed: 48)"),
    ],
)
def test_a_judge_that_cant_judge_is_named(workdir, score, problem):
    assert problem in read_run(workdir("a", score), "a").problems[0]


def test_a_line_that_isnt_json_is_named(workdir):
    folder = workdir("a", lambda item: 3)
    with (folder / "scores.jsonl").open("a") as stream:
        stream.write("{\n")
    with pytest.raises(UserError, match=r"scores\.jsonl:49: not JSON"):
        read_run(folder, "a")
    assert sum(1 for _ in read_jsonl(folder / "answers.jsonl")) == 48
    write_jsonl(folder / "scores.jsonl", [])
    assert not read_run(folder, "a").judged
