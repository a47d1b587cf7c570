"""The batch that a run's step takes, as shapes."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from vcjax.data.packing import DTYPES
from vcjax.plan.setting import Setting
from vcjax.train.config import TrainConfig
from vcjax.train.layout import batch_spec


def batch_shapes(config: TrainConfig, items: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch of so many rows, or pairs of rows for preferences."""
    shape = (items, 2, length) if config.kind == "preferences" else (items, length)
    batch = {name: jax.ShapeDtypeStruct(shape, dtype) for name, dtype in DTYPES.items()}
    if config.objective == "dpo":  # what the base model thinks, computed once before the run
        batch["reference"] = jax.ShapeDtypeStruct((items, 2), jnp.float32)
    return batch


def abstract_batch(setting: Setting) -> dict[str, jax.ShapeDtypeStruct]:
    """The whole batch of a step, laid out over the mesh."""

    def placed(name: str, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        spec = batch_spec(name, leaf.ndim, setting.rules)
        return leaf.update(sharding=NamedSharding(setting.mesh, spec))

    config = setting.config
    whole = batch_shapes(config, config.batch_size, config.length)
    return {name: placed(name, leaf) for name, leaf in whole.items()}
