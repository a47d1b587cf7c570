"""Scripts as a user runs them: one line for a mistake, an exit code, and nothing written."""

import importlib
import json
import os
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from tests.processes import ROOT, launched, started
from tests.scripts import ran
from vcjax.adversarial.config import SynthesisConfig
from vcjax.core.commands import next_command
from vcjax.core.config_help import fields_of, summary_of
from vcjax.core.files import read_json, write_json
from vcjax.data.importers import read_records
from vcjax.road.ablation.config import AblationConfig
from vcjax.road.demo.config import DemoConfig
from vcjax.road.evaluate import EvaluationConfig
from vcjax.train.config import TrainConfig

GOOD = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]}
SILENT = {"messages": [{"role": "user", "content": "Why?"}]}


@pytest.fixture
def mistake(script_cache, tmp_path):
    """Runs a script that must end in one line about a mistake, with nothing written; its line."""

    def run(script: str, *arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, out, error = ran(script, arguments, script_cache)
        assert code == 2, (out, error)
        (line,) = error.splitlines()
        assert line.startswith("error: ")
        assert out == ""
        assert sorted(tmp_path.rglob("*")) == before
        return line.removeprefix("error: ")

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    """Conversation files with one fault each, by the fault's name."""
    folder = tmp_path_factory.mktemp("data")
    good = json.dumps(GOOD)
    contents = {
        "good": f"{good}\n{good}\n",
        "malformed": f'{good}\n{{"messages": [\n{good}\n',
        "empty": "",
        "silent": f"{good}\n{json.dumps(SILENT)}\n",
    }
    for name, text in contents.items():
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.jsonl" for name in contents}


@pytest.fixture
def training(tiny_folder, tmp_path, data):
    """Flags of a short instruction tuning; keywords are changed fields."""

    def make(**changes) -> list[str]:
        values = {
            "model": tiny_folder,
            "conversations": data["good"],
            "steps": 2,
            "warmup_steps": 1,
            "batch_size": 2,
            "length": 64,
            "lora.rank": 0,
            "checkpoint_every": 2,
        } | changes
        given = [f"--config.{name}={value}" for name, value in values.items()]
        return ["--config=configs/sft.py", f"--workdir={tmp_path / 'run'}", *given]

    return make


def test_the_guard_tells_every_kind_of_mistake_in_the_command(mistake, training):
    where = "--workdir=anywhere"
    assert mistake("train", "--confg=configs/sft.py", where) == (
        "unknown flag --confg; did you mean 'config'?"
    )
    assert mistake("train", *training(documnts="x")) == (
        "config.documnts: unknown field; did you mean 'documents'?"
    )
    assert mistake("train", "--config=configs/stf.py", where).endswith(
        "'configs/stf.py'; did you mean 'configs/sft.py'?"
    )
    assert mistake("train", "--config=configs/sft.py:8bb", where).endswith("did you mean '8b'?")
    assert mistake("ablate", "--config=configs/ablate.py:demo", where) == (
        "--config: configs/ablate.py has no variants; leave ':demo' out"
    )
    assert mistake("convert", "--to=checkpont", "--src=x", "--dst=y").endswith(
        "did you mean 'checkpoint'?"
    )
    assert mistake("train", "--config=configs/sft.py", where, "extra").startswith(
        "unexpected argument 'extra'"
    )


def test_data_that_cannot_be_used_is_named_with_its_line(mistake, training, data):
    line = mistake("train", *training(conversations=data["malformed"]))
    assert line.startswith(f"{data['malformed']}:2: not JSON")
    line = mistake("train", *training(conversations=data["empty"]))
    assert line.startswith(f"{data['empty']}: no conversations")
    line = mistake("train", *training(conversations=data["silent"]))
    assert line == f"{data['silent']}:2: conversation without an assistant turn"


def test_a_model_that_cannot_be_loaded_is_named_with_its_fault(mistake, tiny_folder, tmp_path):
    def broken(name: str) -> Path:
        return shutil.copytree(tiny_folder, tmp_path / name)

    def refused(folder: Path) -> str:
        return mistake("convert", f"--src={folder}", f"--dst={tmp_path / 'out'}")

    bare = broken("bare")
    (bare / "config.json").unlink()
    assert refused(bare) == f"{bare}: no config.json: not a model folder"
    cut = broken("cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert refused(cut).startswith(f"{weights}: truncated or corrupt")
    rope = broken("rope")
    config = read_json(rope / "config.json")
    config["rope_scaling"] = {"rope_type": "spiral", "factor": 2.0}
    del config["rope_parameters"]
    write_json(rope / "config.json", config)
    line = refused(rope)
    assert line.startswith(f"{rope}/config.json: ")
    assert "'spiral'" in line


def test_a_charter_without_domains_is_named(mistake, small_charter, tmp_path):
    path = small_charter(tmp_path / "charter.yaml")
    text = path.read_text("utf-8")
    path.write_text(text[: text.index("domains:")], encoding="utf-8")
    line = mistake("synthesize", f"--config.charter={path}", f"--workdir={tmp_path / 'run'}")
    assert line == f"{path}: domains: charter has no domains"


def test_what_follows_a_corpus_of_preferences_can_be_pasted(tiny_folder, tmp_path, script_cache):
    pair = {"prompt": "Is it?", "chosen": "No, it is not.", "rejected": "Yes."}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair), encoding="utf-8")
    data = f"--config.preferences={tmp_path / 'pairs.jsonl'}"
    settings = [f"--config.model={tiny_folder}", "--config.steps=", "--config.workers=1", data]
    workdir = tmp_path / "pairs"
    flags = ["--config=configs/prepare.py:preferences", *settings, f"--workdir={workdir}"]
    code, _, error = ran("prepare", flags, script_cache)
    assert code == 0, error
    trained = ("--config=configs/adversarial.py", "--config.objective=dpo")
    following = next_command(
        "launch.train", *trained, f"--config.preferences={workdir}", "--workdir=DIR"
    )
    assert error.splitlines()[-1] == f"next: {following}"


def test_a_run_is_done_once_and_its_workdir_is_its_own(training, data, tmp_path, script_cache):
    quarantine = {"conversations": data["silent"], "on_bad_record": "quarantine"}
    workdir = tmp_path / "run"
    code, _, error = ran("train", training(**quarantine), script_cache)
    assert code == 0, error
    assert f"{workdir}: 2 steps, loss " in error
    following = next_command("launch.chat", f"--model={workdir}")
    assert error.splitlines()[-1].endswith(f"next: {following}")
    (bad,) = [
        json.loads(line)
        for path in workdir.rglob("quarantine*")
        for line in path.read_text("utf-8").splitlines()
    ]
    assert (bad["file"], bad["line"]) == (str(data["silent"]), 2)
    assert bad["reason"] == "conversation without an assistant turn"
    files = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}

    code, out, error = ran("train", training(**quarantine), script_cache)
    assert code == 0, error
    assert "already finished (2 steps)" in out

    code, _, error = ran("train", training(**quarantine, seed=5), script_cache)
    assert code == 2
    (line,) = error.splitlines()
    assert line.startswith(f"error: {workdir}: belongs to a run of another config (seed: 0 -> 5)")
    assert files == {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}

    code, out, error = ran("verify", [str(workdir)], script_cache)
    assert (code, error) == (0, "")
    assert all(line.startswith("ok ") for line in out.splitlines())
    (workdir / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    code, out, error = ran("verify", ["--folder", str(workdir)], script_cache)
    assert code == 3
    assert error.startswith(f"not met: {workdir}: 1 of the chain's folders and files")
    assert f"changed  {workdir / 'metrics.jsonl'}" in out


def test_a_conversion_is_done_once(tiny_folder, tmp_path, script_cache):
    command = [f"--src={tiny_folder}", f"--dst={tmp_path / 'out'}", "--to=checkpoint"]
    code, _, error = ran("convert", command, script_cache)
    assert (code, error.splitlines()) == (
        0,
        [
            f"{tmp_path / 'out'}: checkpoint, float32",
            f"look at {tmp_path / 'out'}/README.md; next: "
            + next_command("launch.chat", f"--model={tmp_path / 'out'}"),
        ],
    )
    code, out, error = ran("convert", command, script_cache)
    assert (code, error) == (0, "")
    assert "already converted" in out


SCRIPTS = sorted(path.stem for path in (ROOT / "launch").glob("[!_]*.py"))
SLOW_IMPORTS = {"flax", "grain", "jax", "matplotlib", "orbax", "pyarrow", "scipy"}
SLOW_IMPORTS |= {"httpx2", "pydantic", "starlette", "tensorflow_datasets", "transformers"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_no_mistake_and_waits_for_no_large_library(script, script_cache, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    code, out, error = launched(script, ["--help"], script_cache)
    assert code == 0
    assert f"python -m launch.{script} " in out
    imported = {line.rpartition("|")[2].strip() for line in error.splitlines()}
    assert "absl.flags" in imported  # the list is one of imports
    assert not imported & SLOW_IMPORTS


def test_help_explains_the_fields_of_the_config(script_cache):
    code, out, _ = ran("train", ["--help"], script_cache)
    assert code == 0
    assert "fields of configs/sft.py, with their values:" in out
    assert "  --config.optimizer='adamw'\n      one of adamw, adafactor, lion, muon.\n" in out
    assert "  --config.lora.rank=16\n      of the adapters; 0 is full fine-tuning.\n" in out
    code, out, _ = ran("synthesize", ["--config=configs/rounds.py", "--help"], script_cache)
    assert code == 0
    assert "fields of configs/rounds.py" in out
    assert "--config.train.lora.rank=" in out


@pytest.mark.parametrize(
    "source",
    [
        "vcjax.train.config:TrainConfig",
        "vcjax.adversarial.config:SynthesisConfig",
        "vcjax.road.evaluate:EvaluationConfig",
        "vcjax.road.demo.config:DemoConfig",
        "vcjax.road.rounds:RoundsConfig",
        "vcjax.road.ablation.config:AblationConfig",
        "vcjax.road.pressure.config:PressureConfig",
        "vcjax.road.stages.config:StagesConfig",
        "vcjax.data.corpus.config:PrepareConfig",
    ],
)
def test_every_field_of_a_config_is_explained(source):
    module, _, name = source.partition(":")
    found = fields_of(source)
    assert {each.name for each in found} == {
        each.name for each in fields(getattr(importlib.import_module(module), name))
    }
    assert [each.name for each in found if not each.text and not summary_of(each.section)] == []


def test_a_script_ends_alike_in_a_process_of_its_own(training, script_cache):
    """What the other tests see of scripts, they see inside their own process."""
    for arguments in (["--help"], ["--confg=x"], training(documnts="x")):
        assert launched("train", arguments, script_cache) == ran("train", arguments, script_cache)


@pytest.mark.parametrize(
    ("config", "cls"),
    [
        ("cpt", TrainConfig),
        ("sft", TrainConfig),
        ("adversarial", TrainConfig),
        ("synthesize", SynthesisConfig),
        ("evaluate", EvaluationConfig),
        ("demo", DemoConfig),
        ("ablate", AblationConfig),
    ],
)
def test_a_shipped_config_offers_every_field_to_change(config, cls):
    given = importlib.import_module(f"configs.{config}").get_config()
    assert set(given) == {field.name for field in fields(cls)}


def test_the_demonstration_s_data_is_good():
    config = importlib.import_module("configs.demo").get_config()
    for kind in ("documents", "conversations", "questions"):
        assert read_records(config[kind], kind).records
    DemoConfig.from_dict(config.to_dict())


def test_the_shipped_ablation_compares_attacks_with_ordinary_data():
    config = importlib.import_module("configs.ablate").get_config()
    arms = {arm.name: arm for arm in AblationConfig.from_dict(config.to_dict()).arms}
    assert next(iter(arms)) == "base"
    assert arms["ordinary"].like == "adversarial"
    assert arms["ordinary"].train == arms["adversarial"].train


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads it of a process")
@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "glibc.malloc.hugetlb=1"), ("glibc.malloc.check=0", "glibc.malloc.check=0")],
)
def test_the_allocator_is_asked_for_huge_pages_unless_the_user_tunes_it(
    given, expected, script_cache, tmp_path, monkeypatch
):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given is not None:
        monkeypatch.setenv("GLIBC_TUNABLES", given)
    config = tmp_path / "config.py"
    os.mkfifo(config)
    arguments = [f"--config={config}", f"--workdir={tmp_path / 'run'}"]
    with started("train", arguments, script_cache) as process:
        # Opens when the script opens it to read: it has begun anew by then, if it does at all.
        with config.open("w"):
            environment = Path(f"/proc/{process.pid}/environ").read_text()
        process.kill()
    names = dict(one.partition("=")[::2] for one in environment.split("\0"))
    assert names.get("GLIBC_TUNABLES") == expected
