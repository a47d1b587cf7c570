import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.core.errors import UserError
from vcjax.evaluation.benchmark import Benchmark, load_benchmark
from vcjax.evaluation.comparison.differences import compare
from vcjax.evaluation.run import evaluate, read_scores
from vcjax.evaluation.subject import EvaluationSettings, Subject

SETTINGS = EvaluationSettings(chunk=5)


@pytest.fixture(scope="session")
def go(charter, small, recorded, tmp_path_factory):
    """Evaluates with the replies given: `go(workdir, texts)`."""

    def run(workdir, texts, options=SETTINGS, judge_family="qwen3", benchmark=small):
        folder = tmp_path_factory.mktemp("transcripts")
        model = recorded(folder / "model.jsonl", texts, "smollm2")
        judge = recorded(folder / "judge.jsonl", texts, judge_family)
        return evaluate(Subject(model, [judge], charter, options), benchmark, workdir)

    return run


@pytest.fixture(scope="session")
def finished(go, replies, tmp_path_factory):
    """A finished run: its workdir's files by name, and its summary."""
    workdir = tmp_path_factory.mktemp("finished")
    summary = go(workdir, replies)
    return {path.name: path.read_bytes() for path in workdir.iterdir()}, summary


def test_a_run_leaves_answers_scores_and_summary(finished, charter, small):
    files, summary = finished
    assert set(files) == {"answers.jsonl", "scores.jsonl", "summary.json"}
    assert json.loads(files["summary.json"]) == summary
    assert list(summary)[:7] == [
        "same_family",
        "charter",
        "model",
        "judge",
        "benchmark",
        "seed",
        "confidence",
    ]
    assert summary["same_family"] is False
    assert summary["charter"]["name"] == "universal"
    assert summary["charter"]["hash"] == charter.content_hash
    assert summary["charter"]["domains"]["gender"] == {"en": "Gender", "zh": "性别"}
    assert summary["judge"] == {"name": "recorded:judge.jsonl", "family": "qwen3"}
    assert summary["benchmark"]["hash"] == small.hash
    assert summary["benchmark"]["held_out"] == ["migration"]
    assert summary["unscored"] == {"malformed": 1}
    assert summary["languages"]["zh"]["unscored"] == 1
    assert summary["held_out"]["en"]["n"] == summary["trained"]["en"]["n"] == 3


def test_a_finished_run_asks_nothing_and_returns_the_same_summary(go, replies, tmp_path, finished):
    summary = go(tmp_path, replies)
    assert go(tmp_path, {}) == summary == finished[1]


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_run_killed_at_any_byte_repeats_nothing_and_ends_the_same(
    go, replies, finished, tmp_path_factory, data
):
    files, summary = finished
    workdir = tmp_path_factory.mktemp("killed")
    missing = dict(replies)
    # Also both at once: more than any kill can do, as the answers are finished first.
    for name, role in (("answers.jsonl", "answer"), ("scores.jsonl", "judge")):
        content = files[name][: data.draw(st.integers(0, len(files[name])), label=name)]
        (workdir / name).write_bytes(content)
        for line in content.split(b"\n")[:-1]:
            del missing[f"{json.loads(line)['id']}/{role}"]
    assert go(workdir, missing) == summary  # a key that isn't in the transcript is an error
    assert {path.name: path.read_bytes() for path in workdir.iterdir()} == files


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(12)), chunk=st.integers(1, 13))
def test_neither_the_order_of_the_questions_nor_the_chunks_change_the_summary(
    go, replies, finished, small, tmp_path_factory, order, chunk
):
    shuffled = Benchmark("small", tuple(small.items[i] for i in order), small.held_out)
    workdir = tmp_path_factory.mktemp("shuffled")
    assert go(workdir, replies, EvaluationSettings(chunk=chunk), benchmark=shuffled) == finished[1]


def test_a_judge_of_the_models_family_is_stamped(go, replies, tmp_path):
    with pytest.raises(UserError, match="allow_same_family"):
        go(tmp_path / "no", replies, judge_family="smollm2")
    assert not (tmp_path / "no").exists()
    allowed = EvaluationSettings(allow_same_family=True)
    assert go(tmp_path / "yes", replies, allowed, judge_family="smollm2")["same_family"] is True


def test_without_a_judge_there_are_checks_and_bounds(charter, small, replies, recorded, tmp_path):
    model = recorded(tmp_path / "model.jsonl", replies, "smollm2")
    summary = evaluate(Subject(model, [], charter, SETTINGS), small, tmp_path / "run")
    assert (summary["judge"], summary["same_family"]) == (None, None)
    assert summary["unscored"] == {"no_judge": 12}
    english = summary["languages"]["en"]
    assert english["mean"] is None
    assert (english["unscored_as_0"]["mean"], english["unscored_as_5"]["mean"]) == (0, 5)
    assert summary["all_checks"]["overall"]["n"] == 12


def test_a_sample_is_evaluated_and_hashed(go, replies, tmp_path, small):
    summary = go(tmp_path, replies, EvaluationSettings(per_domain_and_language=1))
    assert summary["benchmark"]["items"] == 4
    assert summary["benchmark"]["hash"] != small.hash


def test_a_question_outside_the_charter_is_an_error_before_anything_is_asked(
    charter, small, recorded, tmp_path
):
    model = recorded(tmp_path / "model.jsonl", {}, "smollm2")
    politics = charter.model_copy(update={"domains": charter.domains[2:]})
    with pytest.raises(UserError, match=r"'technology-0-en'.*no subdomain 'technology'"):
        evaluate(Subject(model, [], politics, SETTINGS), small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("bad", [{"chunk": 0}, {"max_tokens": 0}, {"confidence": 1}])
def test_settings_out_of_range_are_a_users_mistake(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        EvaluationSettings(**bad)


def test_two_runs_are_compared_from_their_workdirs(go, replies, tmp_path):
    go(tmp_path / "before", replies)
    go(tmp_path / "after", replies)
    result = compare(read_scores(tmp_path / "before"), read_scores(tmp_path / "after"))
    assert result["languages"]["en"]["judge"]["difference"] == 0


def test_the_whole_shipped_benchmark_goes_through(go, charter, tmp_path):
    benchmark = load_benchmark("universal", charter)
    texts = {f"{item.id}/answer": item.question for item in benchmark.items}
    texts |= {f"{i.id}/judge": '{"reason": "", "score": 2}' for i in benchmark.items}
    summary = go(tmp_path, texts, benchmark=benchmark)
    assert summary["languages"]["zh"]["total"] == 2 * 182
    assert len(summary["domains"]) == 13
    assert summary["held_out"]["en"]["n"] == 3 * 14
