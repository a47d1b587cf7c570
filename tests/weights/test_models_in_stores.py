"""A model in a bucket is a model reference like any other."""

import jax
import numpy as np
import pytest

from vcjax.api import load
from vcjax.core.errors import UserError
from vcjax.core.lineage import read_lineage, verify
from vcjax.core.stores import PARTIAL, as_path, files_below, upload
from vcjax.weights import safetensors_file
from vcjax.weights.export import save_model
from vcjax.weights.load import load_model, open_model
from vcjax.weights.model import LoadedModel
from vcjax.weights.resolve import resolve


def written_and_read(store: str, tiny: LoadedModel, form: str) -> None:
    target = as_path(store) / "model"
    save_model(tiny, target, form=form)
    read = load_model(f"{store}/model")
    jax.tree.map(np.testing.assert_array_equal, read.params, tiny.params)
    assert read.require_tokenizer().encode("a 字") == tiny.require_tokenizer().encode("a 字")
    assert read.origin.path == f"{store}/model"
    assert {finding.status for finding in verify(target)} <= {"ok", "absent"}
    assert load(f"{store}/model").lineage == read_lineage(target)
    with pytest.raises(UserError, match="exists; choose another folder"):
        save_model(tiny, target, form=form)


def test_a_model_written_to_a_bucket_is_the_model_that_is_read_from_it(store, tiny):
    written_and_read(store, tiny, "hf")


def test_a_checkpoint_written_to_a_bucket_is_the_model_that_is_read_from_it(checkpoint_store, tiny):
    written_and_read(checkpoint_store, tiny, "checkpoint")


def test_a_gguf_file_in_a_bucket_is_a_model(store, tiny):
    save_model(tiny, as_path(store) / "model", form="gguf")
    read = load_model(f"{store}/model/model.gguf")
    jax.tree.map(np.testing.assert_array_equal, read.params, tiny.params)


def test_a_checkpoint_is_neither_written_to_nor_read_from_a_bucket_of_another_kind(
    s3, tiny, tmp_path
):
    target = as_path(f"{s3}/{tmp_path.name}")
    with pytest.raises(UserError, match="checkpoints are on a disk or in gs:// alone"):
        save_model(tiny, target, form="checkpoint")
    assert not target.exists()
    save_model(tiny, tmp_path / "model", form="checkpoint")
    upload(tmp_path / "model", target, files_below(tmp_path / "model"))
    with pytest.raises(UserError, match="checkpoints are on a disk or in gs:// alone"):
        load_model(str(target))
    # A training run that was copied there.
    (target / "vcjax_checkpoint.json").unlink()
    (target / "checkpoints" / "3" / "checkpoint.json").write_text("{}")
    for reference in (target, target / "checkpoints" / "3"):
        with pytest.raises(UserError, match="checkpoints are on a disk or in gs:// alone"):
            load_model(str(reference))


def test_a_part_of_a_tensor_in_a_bucket_is_read_by_its_range(store, tiny, tiny_folder, monkeypatch):
    upload(tiny_folder, as_path(store), files_below(tiny_folder))
    model, read = open_model(store), []

    def counted(path, start, size, real=safetensors_file.read_range):
        read.append(size)
        return real(path, start, size)

    monkeypatch.setattr(safetensors_file, "read_range", counted)
    name = "model.embed_tokens.weight"
    part = model.source.part(name, ((3, 7), (0, 32)))
    np.testing.assert_array_equal(part, tiny.params["embedding"][3:7])
    assert read == [4 * 32 * 4]


def test_a_truncated_file_in_a_bucket_is_named(store, tiny_folder):
    upload(tiny_folder, as_path(store), files_below(tiny_folder))
    weights = as_path(store) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model\.safetensors: truncated or corrupt"):
        load_model(store)


def test_a_folder_whose_upload_was_stopped_is_no_model_and_is_written_again(store, tiny):
    target = as_path(store) / "model"
    save_model(tiny, target, form="hf")
    (target / PARTIAL).write_text("")
    with pytest.raises(UserError, match="incomplete"):
        resolve(f"{store}/model")
    save_model(tiny, target, form="hf")
    assert resolve(f"{store}/model").kind == "hf"


def test_a_name_without_a_model_in_a_bucket_is_refused(store):
    with pytest.raises(UserError, match="no such folder or file in the store"):
        resolve(f"{store}/none")
