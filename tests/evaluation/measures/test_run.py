"""What every measure does: it extends an evaluation, survives a kill, and is checked first."""

from dataclasses import replace

import pytest

from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import read_lineage
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.evaluation.measures.run import measure, measures_named, open_measures
from vcjax.evaluation.run import evaluate
from vcjax.evaluation.subject import EvaluationSettings, Subject
from vcjax.road.evaluate import run_evaluation
from vcjax.roles.cache import CallCache
from vcjax.roles.recorded import RecordedRole


def files(workdir) -> dict[str, bytes]:
    names = ("answers.jsonl", "scores.jsonl", "summary.json")
    paths = [path for path in sorted(workdir.rglob("*")) if path.name in names]
    return {str(path.relative_to(workdir)): path.read_bytes() for path in paths}


def test_a_finished_evaluation_is_extended_and_nothing_is_asked_again(
    world, tmp_path, monkeypatch, capsys
):
    config, written = world(lambda id: len(id) % 6), []

    def append(self, record, real=CallCache.append):
        written.append(record["id"])
        real(self, record)

    monkeypatch.setattr(CallCache, "append", append)
    before = run_evaluation(config, tmp_path / "run")
    assert len(written) == 2 * 12
    extended = replace(config, measures="consistency")
    summary = run_evaluation(extended, tmp_path / "run")
    assert len(written) == 2 * 12 * 4
    assert {name: summary[name] for name in before} == before
    assert list(summary["measures"]) == ["consistency"]
    assert summary == read_json(tmp_path / "run" / "summary.json")
    assert run_evaluation(extended, tmp_path / "run") == summary
    assert "already finished" in capsys.readouterr().out
    assert len(written) == 2 * 12 * 4
    assert 'id="consistency"' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    roles = [parent["role"] for parent in read_lineage(tmp_path / "run")["parents"]]
    assert roles == ["model", "judge", "charter", "benchmark", "variants"]


def test_a_finished_evaluation_gets_its_report_in_another_language_and_asks_nothing(
    world, tmp_path, monkeypatch
):
    config = world(lambda id: len(id) % 6)
    summary = run_evaluation(config, tmp_path / "run")
    monkeypatch.setattr(CallCache, "append", None)  # of a call, which would be an error
    assert run_evaluation(replace(config, language="zh"), tmp_path / "run") == summary
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh">' in page
    assert "<h2>各语言结果</h2>" in page
    assert "科技与隐私" in page  # as the charter calls the domain


def test_a_killed_measure_repeats_nothing_and_ends_the_same(world, tmp_path, monkeypatch):
    config = world(lambda id: len(id) % 6)
    charter = load_charter(config.charter)
    benchmark = load_benchmark(config.benchmark, charter)
    roles = (RecordedRole(tmp_path / f"{name}.jsonl") for name in ("model", "judge"))
    settings = EvaluationSettings(chunk=5, allow_same_family=True)
    model, judge = roles
    subject = Subject(model, [judge], charter, settings)

    def run(workdir):
        measures = open_measures(
            ["consistency"], charter, benchmark, per_domain_and_language=None, seed=0
        )
        return measure(measures, subject, evaluate(subject, benchmark, workdir), workdir)

    run(tmp_path / "whole")
    left, asked = [0], []

    def append(self, record, real=CallCache.append):
        if not left[0]:
            raise RuntimeError("killed")
        left[0] -= 1
        asked.append((self.path.parent.name, self.path.name, record["id"]))
        real(self, record)

    monkeypatch.setattr(CallCache, "append", append)
    for allowed in (5, 20, 20, 20):
        left[0] = allowed
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / "run")
    left[0] = 1000
    run(tmp_path / "run")
    assert len(asked) == len(set(asked)) == 2 * 12 * 4
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_measures_ask_a_sample_of_what_the_benchmark_asks(world, tmp_path):
    config = world(lambda id: 3, measures="consistency", measured_per_domain_and_language=1)
    summary = run_evaluation(config, tmp_path / "run")
    assert summary["benchmark"]["items"] == 12
    assert summary["measures"]["consistency"]["questions"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measures": "consistensy"}, "no measure 'consistensy'.*did you mean 'consistency'"),
        ({"measured_per_domain_and_language": -1}, "measured_per_domain_and_language"),
    ],
)
def test_a_bad_config_is_an_error_before_anything_is_written(world, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        run_evaluation(replace(world(lambda id: 3), **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_inputs_of_a_measure_are_checked_before_anything_is_asked(world, tmp_path):
    config = world(lambda id: 3, measures="consistency")
    (tmp_path / "items.variants.jsonl").unlink()
    with pytest.raises(UserError, match="consistency needs variants of the items"):
        run_evaluation(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_are_taken_in_the_order_of_the_report():
    assert measures_named("") == ()
    assert measures_named(" consistency,") == ("consistency",)
