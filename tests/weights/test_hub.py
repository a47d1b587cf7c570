"""Models of a hub, over its protocol and through its real client."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants, hf_hub_download

from tests.hub_server import TOKEN, Hub, Repo, client_of, files_of, hub_server
from tests.processes import ROOT
from vcjax.core.errors import UserError
from vcjax.core.lineage import read_lineage, verify
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel
from vcjax.weights.resolve import resolve
from vcjax.weights.safetensors_file import read_header

NAME = "org/tiny"


@pytest.fixture
def hub(tmp_path) -> Iterator[Hub]:
    """A hub without repositories; its client has an empty cache and no token."""
    with hub_server() as hub, client_of(hub, tmp_path / "hub"):
        yield hub


@pytest.fixture
def repo(hub, tiny_folder) -> Repo:
    """The tiny model as a repository, with what a maker puts beside it."""
    repo = hub.repos[NAME] = Repo()
    beside = {"README.md": b"# Tiny", "consolidated.safetensors": b"a copy", "params.json": b"{}"}
    beside |= {"original/model.safetensors": b"a copy", "pytorch_model.bin": b"pickled"}
    repo.commit({**files_of(tiny_folder), **beside})
    return repo


def same(one: LoadedModel, other: LoadedModel) -> None:
    np.testing.assert_array_equal(one.params["embedding"], other.params["embedding"])


def refusal(reference: str) -> str:
    with pytest.raises(UserError) as caught:
        resolve(reference)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "reference", ["org/a--b", "org/a..b", "org/name.git", "org/-a", "org/a.", "org/" + "a" * 97]
)
def test_a_name_that_is_no_hub_id_is_refused_without_asking(hub, reference):
    line = refusal(reference)
    assert line.startswith(f"{reference}: no such folder, and no hub id (")
    assert not hub.asked


def test_the_model_is_fetched_and_nothing_else(hub, repo, tiny):
    loaded = load_model(NAME)
    same(loaded, tiny)
    assert loaded.origin.reference == f"{NAME}@{repo.refs['main']}"
    assert loaded.origin.files is not None
    assert hub.fetched() == set(loaded.origin.files)
    assert "model.safetensors" in hub.fetched()
    assert not hub.fetched() & {"README.md", "consolidated.safetensors", "pytorch_model.bin"}
    assert not [name for name in hub.fetched() if "/" in name]


def test_of_shards_those_that_the_index_names_are_fetched(hub, repo, tiny, tiny_folder):
    whole = tiny_folder / "model.safetensors"
    names = list(read_header(whole))
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    files = files_of(tiny_folder)
    del files["model.safetensors"]
    files |= {
        "model-00001-of-00001.safetensors": whole.read_bytes(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "consolidated-00001-of-00001.safetensors": b"a copy",
    }
    hub.repos["org/sharded"] = Repo()
    hub.repos["org/sharded"].commit(files)
    same(load_model("org/sharded"), tiny)
    weights = {name for name in hub.fetched() if name.endswith(".safetensors")}
    assert weights == {"model-00001-of-00001.safetensors"}


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, repo):
    first = repo.refs["main"]
    repo.refs["v1"] = first
    second = repo.commit({"generation_config.json": b'{"eos_token_id": 7}'})
    for revision, commit in (("main", second), ("v1", first), (first, first), (second, second)):
        loaded = load_model(f"{NAME}@{revision}")
        assert loaded.origin.reference == f"{NAME}@{commit}"
        assert (loaded.eos_ids == (7,)) == (commit == second)
    assert refusal(f"{NAME}@v2") == f"{NAME}@v2: {NAME} has no revision 'v2' on the hub"


def test_a_name_that_the_hub_does_not_have_is_said_so(hub, monkeypatch):
    assert refusal("org/none").startswith("org/none: no such folder, and none of this name on")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert refusal("org/none").startswith("org/none: no such folder, and none of this name on")


def test_a_gated_model_needs_a_token_that_may_read_it(hub, repo, tiny, monkeypatch):
    repo.gated = True
    assert refusal(NAME).startswith(f"{NAME}: gated; ask for access on its page, and set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert refusal(NAME).startswith(f"{NAME}: gated; ")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    same(load_model(NAME), tiny)


def test_offline_a_model_that_is_whole_in_the_cache_is_used(hub, repo, tiny, monkeypatch):
    resolve(NAME, wanted=["config.json"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = refusal(NAME)
    assert line.startswith(f"{NAME}: no such folder, not whole in the hub's cache, and the hub ")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    online = load_model(NAME)
    commit = repo.refs["main"]
    repo.commit({"README.md": b"# Not fetched"})
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for reference in (NAME, f"{NAME}@main", f"{NAME}@{commit}"):
        offline = load_model(reference)
        same(offline, tiny)
        assert offline.origin == online.origin
    assert not hub.asked
    assert "the hub can't be reached" in refusal("org/none")


def test_while_the_hub_is_down_the_cache_is_used(hub, repo, tiny, monkeypatch):
    load_model(NAME)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    same(load_model(NAME), tiny)
    assert "the hub can't be reached" in refusal("org/none")


def test_another_commit_or_another_program_s_files_leave_the_model_what_it_is(hub, repo, tiny):
    before = load_model(NAME).origin
    hf_hub_download(NAME, "README.md")
    assert load_model(NAME).origin == before
    repo.commit({"README.md": b"# Tiny, described at length"})
    after = load_model(NAME).origin
    assert (after.hash, after.files) == (before.hash, before.files)
    assert after.reference != before.reference
    by_path = load_model(str(before.path)).origin
    assert (by_path.hash, by_path.files) == (before.hash, before.files)
    repo.commit({"generation_config.json": b'{"eos_token_id": 7}'})
    assert load_model(NAME).origin.hash != before.hash


def test_an_adapter_on_the_hub_is_merged_into_its_base_on_the_hub(hub, repo, tiny):
    from safetensors.numpy import save

    first = repo.refs["main"]
    repo.commit({"model.safetensors": b"not the revision that the adapter names"})
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}
    config |= {"base_model_name_or_path": NAME, "revision": first}
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    width = tiny.config.hidden_size
    ones = {
        f"{stem}.lora_A.weight": np.ones((1, width), np.float32),
        f"{stem}.lora_B.weight": np.ones((width, 1), np.float32),
    }
    files = {"adapter_config.json": json.dumps(config).encode(), "README.md": b"# Adapter"}
    hub.repos["org/adapter"] = Repo()
    hub.repos["org/adapter"].commit({**files, "adapter_model.safetensors": save(ones)})
    loaded = load_model("org/adapter")
    kernels = [one.params["layers"]["q"]["kernel"] for one in (loaded, tiny)]
    np.testing.assert_allclose(kernels[0][0], kernels[1][0] + 1, rtol=1e-6)
    np.testing.assert_array_equal(kernels[0][1], kernels[1][1])
    assert loaded.origin.files == ("adapter_config.json", "adapter_model.safetensors")


def test_a_script_converts_from_the_cache_offline_and_verify_sees_what_it_read(hub, repo, tmp_path):
    load_model(NAME)
    target = tmp_path / "out"
    given = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub"), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "launch.convert", f"--src={NAME}", f"--dst={target}"]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | given, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    (parent,) = read_lineage(target)["parents"]
    assert parent["reference"] == f"{NAME}@{repo.refs['main']}"
    assert {finding.status for finding in verify(target)} == {"ok"}
    snapshot = Path(target, parent["path"]).resolve()
    shutil.copy(tmp_path / "out" / "README.md", snapshot / "README.md")
    assert {finding.status for finding in verify(target)} == {"ok"}
    weights = snapshot / "model.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert "changed" in {finding.status for finding in verify(target)}
