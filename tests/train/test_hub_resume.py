"""A run whose base model is on a hub goes on with the commit that it began with."""

import pytest

from tests.hub_server import Repo, client_of, files_of, hub_server
from tests.train.runs import LORA
from vcjax.core.errors import UserError
from vcjax.core.lineage import verify
from vcjax.train.loop import train
from vcjax.weights.bundle import load_bundle
from vcjax.weights.workdir import read_sources

NAME = "org/tiny"


def test_a_run_resumes_after_its_model_s_repository_has_changed(
    tmp_path, make_config, model_folder
):
    repo = Repo()
    begun = repo.commit(files_of(model_folder))
    with hub_server() as hub, client_of(hub, tmp_path / "hub"):
        hub.repos[NAME] = repo
        settings = {"model": NAME, "lora": LORA, "checkpoint_every": 1}
        train(make_config(**settings, steps=1), tmp_path / "run")
        repo.commit({"README.md": b"# Changed", "model.safetensors": b"not the weights"})
        train(make_config(**settings, steps=2), tmp_path / "run")
        base = next(one for one in read_sources(tmp_path / "run") if one.role == "model")
        assert base.reference == f"{NAME}@{begun}"
        load_bundle(str(tmp_path / "run"))  # merges the adapters into that commit
        assert {finding.status for finding in verify(tmp_path / "run")} == {"ok"}
        with pytest.raises(UserError, match=r"model\.safetensors: truncated or corrupt"):
            train(make_config(**settings, steps=1), tmp_path / "another")
