"""The train bench on the tiny model: its output, not its speed."""

import json

import jax
import numpy as np
import pytest

from benchmarks import environment
from benchmarks.accelerator import Shape, bench_accelerator
from benchmarks.contenders import ours
from benchmarks.environment import as_folder
from benchmarks.results import train_table
from benchmarks.train import Case, TrainBench, bench_train, parse_cases
from benchmarks.workload import token_batches
from vcjax.core.defaults import training_config
from vcjax.core.errors import UserError
from vcjax.model.flops import step_flops
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model

CASE = Case(2, 32, "float32")


@pytest.fixture(scope="module")
def settings() -> dict:
    settings = training_config("cpt").to_dict()
    lora = {**settings["lora"], "rank": 0}
    return {**settings, "documents": "random ids", "lora": lora}


@pytest.fixture(scope="module", autouse=True)
def no_peers(tmp_path_factory):
    """Peers' environments are where `make` puts them, if it has; here there are none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.setattr(environment, "find_spec", lambda library: None)
        yield


@pytest.fixture(scope="module")
def section(settings, tiny_folder, tmp_path_factory) -> dict:
    python = {"torch": "", "tunix": ""}
    bench = TrainBench(str(tiny_folder), settings, [CASE], True, 1, python)
    section = bench_train(bench, tmp_path_factory.mktemp("bench"))
    return json.loads(json.dumps(section))


def test_ours_and_the_limit_are_measured_together(section, tiny):
    (case,) = section["cases"]
    assert (case["name"], case["tokens_per_step"]) == ("2 x 32, float32", 64)
    assert case["flops_per_step"] == step_flops(tiny.config, 2, 32)
    assert case["contenders"].keys() == {"ours", "matmul-only"}
    for one in case["contenders"].values():
        assert one["seconds"]["median"] > 0
        assert one["tokens_per_second"] == pytest.approx(64 / one["seconds"]["median"])
        assert one["first_step_seconds"] > 0
        assert one["peak_bytes"] > 50_000_000  # a process that has imported JAX
    (ratio,) = case["ratios"].values()
    times = {name: one["seconds"]["median"] for name, one in case["contenders"].items()}
    assert ratio["median"] == pytest.approx(times["matmul-only"] / times["ours"])
    limit = case["contenders"]["matmul-only"]["facts"]["flops"]
    assert limit == pytest.approx(case["flops_per_step"], rel=0.01)
    assert case["contenders"]["ours"]["losses"][1] < case["contenders"]["ours"]["losses"][0]


def test_peers_that_are_not_installed_are_named_with_the_mend(section):
    (case,) = section["cases"]
    assert case["skipped"].keys() == {"transformers", "transformers, compiled", "tunix"}
    assert "`make .venv-parity/ready`" in case["skipped"]["transformers"]
    assert "`make .venv-tunix/ready`" in case["skipped"]["tunix"]


def test_the_table_has_a_line_for_each_contender_and_each_peer_left_out(section):
    lines = train_table(section).splitlines()
    assert lines[1] == "2 x 32, float32"
    assert [line.split()[0] for line in lines[3:5]] == ["ours", "matmul-only"]
    assert len({len(line) for line in lines[2:4]}) <= 2
    assert sum(line.startswith("  left out: ") for line in lines) == 3


def test_bounds_are_for_the_shipped_model_alone(section):
    assert section["bounds"] == []


def test_cases_are_parsed_and_mistakes_named(settings, tiny_folder, tmp_path):
    assert parse_cases("4x512:float32, 1x2048:bfloat16") == [
        Case(4, 512, "float32"),
        Case(1, 2048, "bfloat16"),
    ]
    for wrong in ("4x512", "0x512:float32", "4 512 float32", ""):
        with pytest.raises(UserError, match=r"--cases: .* isn't of the form 4x512:float32"):
            parse_cases(wrong)
    python = {"torch": "", "tunix": ""}
    for case, field in ((Case(2, 1, "float32"), "length"), (Case(2, 32, "float8"), "dtype")):
        bench = TrainBench(str(tiny_folder), settings, [case], False, 1, python)
        with pytest.raises(UserError, match=rf"config\.{field}(:| must be) "):
            bench_train(bench, tmp_path / "out")
    absent = {"torch": str(tmp_path / "python"), "tunix": ""}
    bench = TrainBench(str(tiny_folder), settings, [CASE], False, 1, absent)
    with pytest.raises(UserError, match="python: no such interpreter"):
        bench_train(bench, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_contender_gets_the_weights_as_a_folder_made_once(tiny, tiny_folder, tmp_path):
    assert as_folder(str(tiny_folder), tmp_path) == tiny_folder
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    write_model(checkpoint, tiny, form="checkpoint")
    made = as_folder(str(checkpoint), tmp_path / "models")
    same = jax.tree.map(np.array_equal, load_model(str(made)).params, tiny.params)
    assert all(jax.tree.leaves(same))
    before = (made / "model.safetensors").stat().st_mtime_ns
    assert as_folder(str(checkpoint), tmp_path / "models") == made
    assert (made / "model.safetensors").stat().st_mtime_ns == before


def test_all_contenders_see_the_same_rows(settings):
    config = {**settings, "batch_size": 2, "length": 8}
    first, again = token_batches(config, 50), token_batches(config, 50)
    one, two = next(first), next(first)
    assert (one.shape, one.dtype.name) == ((2, 8), "int32")
    assert 0 <= one.min() <= one.max() < 50
    assert not np.array_equal(one, two)
    assert np.array_equal(one, next(again))
    assert np.array_equal(two, next(again))


def test_a_named_shape_trains_from_random_weights(settings, tiny, monkeypatch):
    monkeypatch.setitem(ours.NAMED, "small", tiny.config)
    rows = {"model": "small", "batch_size": 2, "length": 16, "dtype": "bfloat16"}
    for rank in (0, 4):
        lora = {**settings["lora"], "rank": rank}
        config = {**settings, **rows, "lora": lora, "learning_rate": 0.01}
        contender = ours.setup({"config": config})
        assert contender.facts["flops_per_step"] > 0
        assert contender.step() == pytest.approx(np.log(tiny.config.vocab_size), rel=0.05)


def test_utilisation_is_of_the_peak_and_a_failure_is_told(settings, tiny_folder, tmp_path):
    shapes = [
        Shape(str(tiny_folder), 2, 16, 0, "full"),
        Shape(str(tmp_path / "nothing"), 2, 16, 4, "full"),
    ]
    section = bench_accelerator(shapes, settings, 1, 1e12, tmp_path)
    measured, failed = section["cases"]
    rate = measured["contenders"]["ours"]["flops_per_second"]
    assert measured["utilisation"] == pytest.approx(rate / 1e12)
    assert "nothing" in failed["skipped"]["ours"]
    (aim,) = section["bounds"]
    assert (aim["must"], aim["least"], aim["met"]) == (False, 0.5, False)
    assert "model FLOP utilisation: " in train_table(section)
