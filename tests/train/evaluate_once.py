"""Runs the validation of the config in a workdir on an untrained model, on all devices.

    python -m tests.train.evaluate_once WORKDIR

It needs a separate process if the number of devices matters, which is fixed when JAX starts.
"""

import sys
from pathlib import Path

from vcjax.core.files import read_json
from vcjax.parallel import make_mesh
from vcjax.train.config import TrainConfig
from vcjax.train.evaluation import Evaluation, Samples, ValidationLoss
from vcjax.train.inputs import check_validation, write_model_files
from vcjax.train.layout import make_layout, shard_params
from vcjax.train.logging import Log
from vcjax.train.losses import make_loss
from vcjax.train.optim import make_optimizer
from vcjax.train.validation_data import prepare_groups
from vcjax.weights.load import load_model


def evaluate_once(workdir: Path, done: int = 0, step: int = 0) -> Evaluation:
    """Returns the measuring, after what a run does up to its first measurement."""
    config = TrainConfig.from_dict(read_json(workdir / "config.json"))
    mesh, loaded = make_mesh(config.to_dict()["mesh"]), load_model(config.model, "float32")
    measured = check_validation(config, loaded, workdir)
    write_model_files(workdir, loaded, chat=config.kind == "conversations")
    layout = make_layout(loaded.config, config, make_optimizer(config), mesh)
    trainable = shard_params(loaded.params, layout.trainable)
    groups = prepare_groups(measured.data, config, loaded.require_tokenizer(), workdir)
    validation = ValidationLoss(groups, config, layout, make_loss(config))
    answers = Samples(measured.prompts, config, loaded.config, workdir)
    measuring = Evaluation(config, validation, answers, workdir, done)
    with Log(workdir, done) as log:
        measuring.measure(step, trainable, {}, log)
    return measuring


if __name__ == "__main__":
    evaluate_once(Path(sys.argv[1]))
