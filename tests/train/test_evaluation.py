"""When a run evaluates, what it writes, and that neither a kill nor a mesh changes it."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from vcjax.train.config import TrainConfig
from vcjax.train.evaluation import Evaluation
from vcjax.train.inputs import check_validation
from vcjax.train.logging import Log
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def changes(documents, model_folder, tmp_path) -> dict:
    """Of a config, so that all is measured; of a model whose answers don't only repeat."""
    loaded, model = load_model(str(model_folder), "float32"), tmp_path / "model"
    layers = jax.tree.map(lambda leaf: 20 * leaf, loaded.params["layers"])
    model.mkdir()
    write_model(model, replace(loaded, params={**loaded.params, "layers": layers}), form="hf")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("People\n历史\n", encoding="utf-8")
    data = {"data": str(documents), "every": 2, "prompts": str(prompts), "max_tokens": 6}
    return {"model": str(model), "validation": {**data, "patience": 1}}


def test_what_is_measured_with_belongs_to_the_lineage(settings, changes, tmp_path):
    def roles(**more) -> list[str]:
        config = TrainConfig.from_dict(settings(**{**changes, **more}))
        loaded = load_model(config.model, "float32")
        return [parent.role for parent in check_validation(config, loaded, tmp_path).parents]

    assert roles() == ["validation.data", "validation.prompts"]
    assert roles(validation={**changes["validation"], "every": 0, "patience": 0}) == []


def test_a_run_is_measured_at_its_start_every_few_steps_and_at_its_end(
    make_config, changes, tmp_path
):
    def due(**more) -> list[int]:
        config = make_config(**more)
        measuring = Evaluation(config, None, None, tmp_path, 0)
        return [step for step in range(config.steps + 1) if measuring.due(step)]

    assert due(steps=5, **changes) == [0, 2, 4, 5]
    assert due(steps=5) == []


def test_a_resumed_run_has_measured_what_the_kept_steps_have(make_config, changes, tmp_path):
    with Log(tmp_path, 0) as log:
        for step, loss in ((0, 3.0), (2, 2.0), (4, 2.5)):
            log.write_validation({"step": step, "loss": loss})
    config = make_config(**changes)
    resumed = [Evaluation(config, None, None, tmp_path, done) for done in (0, 3, 4)]
    assert [measuring.stopping.stopped for measuring in resumed] == [None, None, 4]
    assert resumed[0].summary() == {}
    assert resumed[1].summary()["validation"]["last_loss"] == 2.0
    assert resumed[2].summary() == {
        "validation": {"first_loss": 3.0, "last_loss": 2.5, "best_loss": 2.0, "best_step": 2},
        "stopped_early": 4,
    }
