"""A run whose base model is on a hub continues with the commit that it started with."""

import pytest

from tests.hub_server import TINY, hub_of
from tests.train.runs import LORA
from vcjax.core.errors import UserError
from vcjax.core.lineage import verify
from vcjax.train.loop import train
from vcjax.weights.load import load_model
from vcjax.weights.workdir import read_sources


def test_a_run_resumes_after_its_model_s_repository_has_changed(
    tmp_path, make_config, model_folder
):
    with hub_of(model_folder, tmp_path / "hub") as (begun, change):
        settings = {"model": TINY, "lora": LORA, "checkpoint_every": 1}
        train(make_config(**settings, steps=1), tmp_path / "run")
        change()
        train(make_config(**settings, steps=2), tmp_path / "run")
        base = next(one for one in read_sources(tmp_path / "run") if one.role == "model")
        assert base.reference == begun
        load_model(str(tmp_path / "run"))  # merges the adapters into that commit
        assert {finding.status for finding in verify(tmp_path / "run")} == {"ok"}
        with pytest.raises(UserError, match=r"model\.safetensors: truncated or corrupt"):
            train(make_config(**settings, steps=1), tmp_path / "another")
