"""An evaluation that is stopped: in a bucket, and with a model from a hub."""

import json
import shutil
from dataclasses import asdict, replace

import pytest
from safetensors.numpy import load_file, save_file

from tests.hub_server import TINY, hub_of
from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import read_lineage, verify
from vcjax.core.stores import as_path
from vcjax.evaluation.run import read_scores
from vcjax.road import evaluate as evaluating
from vcjax.road.compare import ComparisonConfig, run_comparison
from vcjax.road.evaluate import EvaluationConfig, run_evaluation
from vcjax.roles.cache import CallCache
from vcjax.roles.local import LocalRole


@pytest.fixture
def config(tmp_path) -> EvaluationConfig:
    """Six questions, and what was answered to them."""
    domain = load_charter("universal").subdomains()[0].id
    names = [f"{number}-{lang}" for number in range(3) for lang in ("en", "zh")]
    about = {"domain": domain, "question": "Why?", "rubric": "Weighs both sides."}
    items = [{"id": n, "parallel_id": n[0], "lang": n[2:], **about} for n in names]
    said = [{"key": f"{name}/answer", "text": f"Both have a point ({name})."} for name in names]
    for file, records in (("items", items), ("said", said)):
        lines = "\n".join(map(json.dumps, records))
        (tmp_path / f"{file}.jsonl").write_text(lines, encoding="utf-8")
    model = f"recorded:{tmp_path / 'said.jsonl'}"
    return EvaluationConfig(model=model, model_family="a", benchmark=str(tmp_path / "items.jsonl"))


def test_an_evaluation_that_is_stopped_asks_again_only_what_was_not_uploaded(
    config, store, tmp_path, monkeypatch
):
    workdir, written = f"{store}/run", []

    def extend(self, records, real=CallCache.extend):
        added = list(records)
        written.extend(added)
        if len(written) == 5:
            raise RuntimeError("killed")
        real(self, added)

    monkeypatch.setattr(evaluating, "UPLOADED", 2)
    monkeypatch.setattr(CallCache, "extend", extend)
    with pytest.raises(RuntimeError, match="killed"):
        run_evaluation(config, workdir)
    kept = [record for _, record in read_jsonl(f"{workdir}/answers.jsonl")]
    assert kept == written[:4]

    written[:] = [{}] * 10
    summary = run_evaluation(config, workdir)
    assert len(written) == 10 + 2 + 6  # answers and scores
    on_disk = run_evaluation(config, tmp_path / "run")
    assert summary == on_disk == read_json(f"{workdir}/summary.json")
    assert (as_path(workdir) / "report.html").read_text() == (
        tmp_path / "run" / "report.html"
    ).read_text()
    assert {finding.status for finding in verify(workdir)} == {"ok"}
    assert read_json(f"{workdir}/config.json")["seed"] == asdict(config)["seed"]
    runs = (f"{workdir}", f"{tmp_path / 'run'}")
    compared = run_comparison(ComparisonConfig(runs=runs), tmp_path / "compared")
    assert [each["questions"] for each in compared["runs"]] == [6, 6]
    assert {finding.status for finding in verify(tmp_path / "compared")} == {"ok"}


@pytest.fixture
def local(tiny_folder, tmp_path) -> EvaluationConfig:
    """Four questions to a model in a folder of its own."""
    domain = load_charter("universal").subdomains()[0].id
    about = {"domain": domain, "lang": "en", "question": "Why?"}
    items = [{"id": f"{n}", "parallel_id": f"{n}", **about} for n in range(4)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
    shutil.copytree(tiny_folder, tmp_path / "model")
    return EvaluationConfig(
        model=str(tmp_path / "model"),
        model_family="tiny",
        benchmark=str(tmp_path / "items.jsonl"),
        max_tokens=4,
        slots=4,
    )


def retrain(folder) -> None:
    """Other weights in the same files."""
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        save_file({name: value * 1.5 for name, value in tensors.items()}, path)


def test_a_model_that_was_retrained_under_its_path_is_asked_anew(local, tmp_path, capsys):
    workdir = tmp_path / "run"
    run_evaluation(local, workdir)
    run_evaluation(local, workdir)
    assert "already finished" in capsys.readouterr().out
    retrain(tmp_path / "model")
    run_evaluation(local, workdir)
    said = capsys.readouterr()
    assert f"{tmp_path / 'model'} has changed since the run was finished" in said.out
    assert "answers.jsonl: 4 answers are of another model, charter or prompt" in said.err
    records = [record for _, record in read_jsonl(workdir / "answers.jsonl")]
    hashes = [record["model_hash"] for record in records]
    assert len(hashes) == 8
    assert len(set(hashes[:4])) == len(set(hashes[4:])) == 1
    assert hashes[-1] == read_lineage(workdir)["parents"][0]["hash"] != hashes[0]
    assert len(read_scores(workdir)) == 4


def test_answers_of_the_version_before_are_used_while_it_is_the_same_model(
    local, tmp_path, monkeypatch, capsys
):
    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        # It knew a model by its reference.
        patch.setattr(LocalRole, "identity", LocalRole.model)
        earlier = run_evaluation(local, workdir)
    written = (workdir / "answers.jsonl").read_bytes()
    (workdir / "lineage.json").unlink()
    assert run_evaluation(local, workdir) == earlier
    assert (workdir / "answers.jsonl").read_bytes() == written
    assert "asked anew" not in capsys.readouterr().err
    (workdir / "lineage.json").unlink()
    retrain(tmp_path / "model")
    run_evaluation(local, workdir)
    assert "4 answers are of another model" in capsys.readouterr().err


def test_a_model_on_a_hub_and_its_template_are_those_of_the_start(
    tiny_folder, tmp_path, monkeypatch
):
    domain = load_charter("universal").subdomains()[0].id
    about = {"domain": domain, "lang": "en", "question": "Why?"}
    items = [{"id": f"{n}", "parallel_id": f"{n}", **about} for n in range(4)]
    benchmark, template = tmp_path / "items.jsonl", tmp_path / "own.jinja"
    benchmark.write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
    template.write_text("{{ messages[-1]['content'] }}", encoding="utf-8")
    config = EvaluationConfig(
        model=f"{TINY}#template={template}",
        model_family="tiny",
        benchmark=str(benchmark),
        max_tokens=4,
        slots=4,
    )
    workdir, append = tmp_path / "run", CallCache.append

    def killed(self, record):
        if len(self.records) == 2:
            raise RuntimeError("killed")
        append(self, record)

    def answers() -> list[dict]:
        return [dict(record) for _, record in read_jsonl(workdir / "answers.jsonl")]

    with hub_of(tiny_folder, tmp_path / "hub") as (begun, change):
        with monkeypatch.context() as patch:
            patch.setattr(CallCache, "append", killed)
            with pytest.raises(RuntimeError, match="killed"):
                run_evaluation(config, workdir)
        kept = answers()
        change()
        summary = run_evaluation(config, workdir)
    assert summary["model"]["name"] == f"{begun}#template={template}"
    assert answers()[:2] == kept
    assert len(answers()) == 4
    roles = [parent["role"] for parent in read_lineage(workdir)["parents"]]
    assert roles == ["model", "template", "charter", "benchmark"]
    assert {finding.status for finding in verify(workdir)} == {"ok"}
    template.write_text("{{ messages[0]['content'] }}", encoding="utf-8")
    (changed,) = (finding for finding in verify(workdir) if finding.status != "ok")
    assert (changed.status, changed.subject) == ("changed", f"template {template}")


def test_a_panel_with_people_is_judged_reported_and_in_the_lineage(config, tmp_path):
    names = [f"{number}-{lang}" for number in range(3) for lang in ("en", "zh")]
    for file, scores in (("one", (1, 2, 3, 4, 5, 0)), ("two", (2, 2, 3, 4, 4, 0))):
        lines = [
            json.dumps(
                {"key": f"{name}/judge", "text": json.dumps({"reason": "so", "score": score})}
            )
            for name, score in zip(names, scores, strict=True)
        ]
        (tmp_path / f"{file}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = [f"{name},{score}" for name, score in zip(names, (1, 1, 3, 5, 5, 0), strict=True)]
    people = tmp_path / "people.csv"
    people.write_text("\n".join(["item,annotation_1", *rows]), encoding="utf-8")
    judges = [f"recorded:{tmp_path / 'one.jsonl'}", f"recorded:{tmp_path / 'two.jsonl'}"]
    panel = replace(
        config,
        judge=",".join([*judges, f"scores:{people}"]),
        judge_family="b,c,",
        judge_columns="id:item,score:annotation_1",
    )
    workdir = tmp_path / "run"
    summary = run_evaluation(panel, workdir)
    human = "scores:people.csv#annotation_1"
    assert summary["judges"][human]["family"] == "human"
    assert summary["languages"]["en"]["total"] == pytest.approx(4 / 3 + 3 + 14 / 3)
    assert summary["agreement"]["errors"]["judges"].keys() == {
        "recorded:one.jsonl",
        "recorded:two.jsonl",
    }
    parents = {parent["role"]: parent for parent in read_lineage(workdir)["parents"]}
    assert {"judge", "judge2", "judge3"} <= parents.keys()
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert "How far the judges can be trusted" in page
    assert "no human scores stand beside" not in page
    people.write_text("\n".join(["item,annotation_1", *(f"{n},4" for n in names)]))
    assert run_evaluation(panel, workdir)["judges"][human]["languages"]["zh"]["mean"] == 4
    words = ("aligned", "refusal", "unclear")
    rows = [f"{name},{words[number % 3]}" for number, name in enumerate(names)]
    people.write_text("\n".join(["item,annotation_1", *rows]))
    labelled = replace(panel, judge_labels="aligned:5,refusal:1,unclear:")
    found = run_evaluation(labelled, tmp_path / "labelled")["judges"][human]
    assert found["scores"] == {"1": 2, "5": 2}
    assert found["unscored"] == {"not rated": 2}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"judge": "recorded:a,recorded:b", "judge_family": "x"}, "1 families for 2 judges"),
        ({"judge": "recorded:a", "judge_columns": "id:item"}, "no judge is a file of scores"),
        ({"judge": "recorded:a", "judge_labels": "a:1"}, "config.judge_labels: no judge is a file"),
        ({"judge": "scores:nowhere.csv"}, "nowhere.csv"),
        ({"judge_samples": 0}, "config.judge_samples: 0 is below 1"),
        ({"judge_language": "both of them"}, "config.judge_language"),
    ],
)
def test_a_panel_that_cannot_be_is_refused_before_anything_is_written(
    config, tmp_path, fields, message
):
    with pytest.raises(UserError, match=message):
        run_evaluation(replace(config, **fields), tmp_path / "run")
    assert not (tmp_path / "run").exists()
