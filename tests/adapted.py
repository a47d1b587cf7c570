"""A training run's workdir with random adapters, for tests that load or export one."""

from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np

from vcjax.charter.load import charter_parents
from vcjax.core.files import write_json
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import LoraConfig, split_adapters
from vcjax.train.checkpoints import Checkpoints
from vcjax.train.inputs import write_model_files
from vcjax.weights.load import load_model
from vcjax.weights.workdir import write_sources


def random_adapters(config: LlamaConfig, lora: LoraConfig) -> Params:
    """Adapters whose B isn't zero."""
    draw = np.random.default_rng(5).standard_normal
    tree, _ = split_adapters(shapes(config, lora=lora))
    return jax.tree.map(lambda leaf: 0.1 * draw(leaf.shape, np.float32), tree)


def write_run(workdir: Path, base: Path, lora: LoraConfig | None, charter: str = "") -> Params:
    """Writes what a run leaves that began with `base`; returns what it has trained.

    Those are adapters; or, where `lora` is None, all parameters, which are left as they were.
    """
    loaded = load_model(str(base), "float32")
    trained = random_adapters(loaded.config, lora) if lora else loaded.params
    workdir.mkdir()
    settings = asdict(lora) if lora else {"rank": 0}
    write_json(workdir / "config.json", {"lora": settings, "seed": 0})
    given = charter_parents(charter) if charter else []
    write_sources(workdir, [loaded.origin, *given])
    write_model_files(workdir, loaded, chat=True)
    with Checkpoints(workdir, keep=1) as saved:
        saved.save(3, trained, {"count": np.int32(3)})
    return trained
