"""A model card names the charter that a model was aligned to, however the model was written."""

import shutil
from pathlib import Path

import pytest

from tests.adapted import write_run
from vcjax.api import load
from vcjax.charter.load import load_charter
from vcjax.core.lineage import content_hash, read_lineage
from vcjax.model.lora import LoraConfig
from vcjax.weights.export import save_adapters, save_model
from vcjax.weights.load import open_located
from vcjax.weights.resolve import resolve


@pytest.fixture(scope="module")
def charter(tmp_path_factory, small_charter) -> Path:
    return small_charter(tmp_path_factory.mktemp("charters") / "mine.yaml")


@pytest.fixture(scope="module")
def aligned(tmp_path_factory, tiny_folder, charter) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "aligned"
    write_run(workdir, tiny_folder, LoraConfig(2, 4.0, ".*", 0.0, ""), str(charter))
    return workdir


@pytest.fixture(scope="module")
def line(charter) -> str:
    return f"aligned to the charter **small 1 (hash {load_charter(str(charter)).content_hash[:16]})"


def card(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("form", ["hf", "checkpoint"])
def test_the_card_of_a_saved_or_converted_model_names_the_charter(aligned, line, form, tmp_path):
    load(str(aligned)).save(tmp_path / "saved", format=form)
    save_model(open_located(resolve(str(aligned))), tmp_path / "converted", form=form)
    save_model(open_located(resolve(str(tmp_path / "converted"))), tmp_path / "again", form="hf")
    for name in ("saved", "converted", "again"):
        assert line in card(tmp_path / name)
        roles = [parent["role"] for parent in read_lineage(tmp_path / name)["parents"]]
        assert roles == ["model", "charter"]


def test_the_card_of_adapters_and_of_what_they_are_merged_into_names_it(aligned, line, tmp_path):
    save_adapters(resolve(str(aligned)), tmp_path / "adapters")
    save_model(open_located(resolve(str(tmp_path / "adapters"))), tmp_path / "merged", form="hf")
    assert line in card(tmp_path / "adapters")
    assert line in card(tmp_path / "merged")


def test_a_run_on_top_of_an_aligned_model_names_it_and_a_step_of_it_does(aligned, line, tmp_path):
    save_model(open_located(resolve(str(aligned))), tmp_path / "base", form="hf")
    write_run(tmp_path / "run", tmp_path / "base", None)
    load(str(tmp_path / "run" / "checkpoints" / "3")).save(tmp_path / "saved")
    assert line in card(tmp_path / "saved")


def test_what_is_left_of_a_charter_that_has_changed_is_its_record(
    tmp_path, tiny_folder, small_charter
):
    path = small_charter(tmp_path / "mine.yaml")
    recorded = content_hash(path)
    write_run(tmp_path / "run", tiny_folder, None, str(path))
    path.write_text(path.read_text("utf-8") + "# another\n", "utf-8")
    load(str(tmp_path / "run")).save(tmp_path / "saved")
    assert f"charter **{path} (hash {recorded[:16]})" in card(tmp_path / "saved")


def test_a_model_that_was_not_aligned_says_so(tmp_path, tiny_folder):
    folder = shutil.copytree(tiny_folder, tmp_path / "plain")
    load(str(folder)).save(tmp_path / "saved")
    assert "not aligned to a charter" in card(tmp_path / "saved")
