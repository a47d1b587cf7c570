"""Three checkpoints of a training run are evaluated and compared: killed twice, nothing is asked
again; trained anew under the same path, they are asked anew."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.processes import started
from tests.scripts import ran
from vcjax.core.defaults import training_config
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify
from vcjax.evaluation.comparison.reading import read_run
from vcjax.evaluation.inspect_log import NAME
from vcjax.roles.local import LocalAsking

STEPS = (1, 2, 3)
CONFIG = """
import json
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(json.loads({text!r}))
"""
TEXTS = {"en": "Is the old {} number {} worth it?", "zh": "第{1}个老{0}值得保留吗？"}
ITEMS = [
    {"id": f"{domain}-{n}-{lang}", "parallel_id": f"{domain}-{n}", "domain": domain, "lang": lang}
    | {"question": text.format(domain, n)}
    for domain in ("parks", "trains")
    for n in range(6)
    for lang, text in TEXTS.items()
]
EVERY = {f"{item['id']}/{kind}" for item in ITEMS for kind in ("answer", "judge")}


class Bench:
    """Three checkpoints, what evaluates and compares them, and what their models were asked."""

    def __init__(self, folder: Path, tiny: Path, charter: Path, cache: Path) -> None:
        self.folder, self.tiny, self.cache = folder, tiny, cache
        self.asked: list[str] = []
        items = "\n".join(map(json.dumps, ITEMS))
        (folder / "items.jsonl").write_text(items, encoding="utf-8")
        documents = [{"text": f"Old park {n} has its friends.", "source": "t"} for n in range(40)]
        lines = "\n".join(map(json.dumps, documents))
        (folder / "documents.jsonl").write_text(lines, encoding="utf-8")
        self.flags = [
            f"--config.judge={tiny}",
            "--config.model_family=tiny",
            "--config.judge_family=other",
            f"--config.charter={charter}",
            f"--config.benchmark={folder / 'items.jsonl'}",
            "--config.max_tokens=24",
            "--config.judge_tokens=400",
            "--config.judge_check=0",
            "--config.slots=2",
            "--inspect_log",
        ]

    def train(self, learning_rate: float) -> None:
        config = training_config("cpt").to_dict()
        config["lora"]["rank"] = 0
        config |= {
            "model": str(self.tiny),
            "documents": str(self.folder / "documents.jsonl"),
            "learning_rate": learning_rate,
            **{"steps": 3, "batch_size": 2, "length": 64, "warmup_steps": 0},
            **{"checkpoint_every": 1, "keep": 3},
        }
        path = self.folder / "train.py"
        path.write_text(CONFIG.format(text=json.dumps(config)), encoding="utf-8")
        self.run("train", [f"--config={path}", f"--workdir={self.folder / 'run'}"])

    def evaluation(self, step: int) -> list[str]:
        model = self.folder / "run" / "checkpoints" / str(step)
        return [f"--config.model={model}", *self.flags, f"--workdir={self.workdir(step)}"]

    def workdir(self, step: int) -> Path:
        return self.folder / f"step{step}"

    def evaluate(self, step: int) -> str:
        """Evaluates to the end; what the models were asked is in `asked` then."""
        self.asked.clear()
        return self.run("evaluate", self.evaluation(step))

    def compare(self) -> str:
        runs = ",".join(str(self.workdir(step)) for step in STEPS)
        return self.run("compare", [f"--runs={runs}", f"--workdir={self.folder / 'compared'}"])

    def run(self, script: str, arguments: list[str]) -> str:
        code, out, error = ran(script, arguments, self.cache)
        assert code == 0, error
        return out + error

    def recorded(self, step: int) -> dict[str, set[str]]:
        """The keys of what is on the disk, by file."""
        found = {}
        for name, kind in (("answers", "answer"), ("scores", "judge")):
            path = self.workdir(step) / f"{name}.jsonl"
            lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
            whole = [json.loads(line) for line in lines if line.endswith(b"\n")]
            keys = [f"{each['id']}/{kind}" for each in whole]
            assert len(set(keys)) == len(keys), "asked twice"
            found[name] = set(keys)
        return found

    def kill_in(self, step: int, file: str) -> dict[str, set[str]]:
        """Kills an evaluation once a file has four records; returns what is there then."""
        process = started("evaluate", self.evaluation(step), self.cache)
        while process.poll() is None and len(self.recorded(step)[file]) < 4:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        assert process.returncode == -signal.SIGKILL, error
        found = self.recorded(step)
        assert 4 <= len(found[file]) < len(ITEMS)
        assert not (self.workdir(step) / "summary.json").exists()
        return found


@pytest.fixture
def bench(tiny_folder, small_charter, tmp_path, script_cache, monkeypatch) -> Bench:
    found = Bench(tmp_path, tiny_folder, small_charter(tmp_path / "charter.yaml"), script_cache)

    def add(self, index, ask, order, real=LocalAsking.add):
        found.asked.append(ask.key)
        return real(self, index, ask, order)

    monkeypatch.setattr(LocalAsking, "add", add)
    return found


def test_nothing_is_asked_again_but_of_another_model(bench):
    bench.train(1e-2)
    bench.evaluate(1)
    assert set(bench.asked) == EVERY

    first = bench.kill_in(2, "answers")
    assert not first["scores"]
    second = bench.kill_in(2, "scores")
    assert second["answers"] == {key for key in EVERY if key.endswith("/answer")}
    bench.evaluate(2)
    assert sorted(bench.asked) == sorted(EVERY - second["answers"] - second["scores"])

    bench.evaluate(3)
    bench.compare()
    comparison = read_json(bench.folder / "compared" / "comparison.json")
    assert comparison["comparisons"].keys() == {"step2", "step3"}
    assert comparison["questions"]["compared"] == len(ITEMS)
    for step in STEPS:
        bench.evaluate(step)
        assert not bench.asked
    assert "already finished" in bench.compare()
    for folder in (*map(bench.workdir, STEPS), bench.folder / "compared"):
        assert {finding.status for finding in verify(folder)} == {"ok"}

    shutil.rmtree(bench.folder / "run")
    bench.train(3e-2)
    before = {step: answers(bench.workdir(step)) for step in STEPS}
    for step in STEPS:
        said = bench.evaluate(step)
        assert f"{len(ITEMS)} answers are of another model" in said
        changed = {
            id for id, text in answers(bench.workdir(step)).items() if text != before[step][id]
        }
        assert changed
        every = {f"{item['id']}/answer" for item in ITEMS}
        # The judge hasn't changed: an answer that is the same word for word keeps its verdict.
        assert sorted(bench.asked) == sorted(every | {f"{id}/judge" for id in changed})
        log = read_run(bench.workdir(step) / NAME, "log").records
        assert {each["id"]: each["answer"] for each in log} == answers(bench.workdir(step))
    assert "has changed since" in bench.compare()
    again = read_json(bench.folder / "compared" / "comparison.json")
    assert again["questions"]["compared"] == len(ITEMS)
    assert again != comparison


def answers(workdir: Path) -> dict[str, str]:
    """The last answer to each question."""
    return {each["id"]: each["answer"] for _, each in read_jsonl(workdir / "answers.jsonl")}
