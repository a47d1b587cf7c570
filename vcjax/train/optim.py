"""AdamW with a warmed-up cosine, and which leaves decay.

Sources: Loshchilov and Hutter, arXiv 1711.05101 (AdamW) and 1608.03983 (cosine).
"""

import jax
import optax

from vcjax.model.build import Params
from vcjax.train.config import TrainConfig

DECAYED = ("kernel", "embedding", "head")
"""Names of the leaves with weight decay: matrices of the model; no norm, bias or adapter."""


def make_schedule(config: TrainConfig) -> optax.Schedule:
    """Learning rate of the update that follows `count` earlier ones.

    The first update has a rate above 0 and the last one the final rate. A run that ends within
    its warm-up doesn't reach the peak.
    """
    schedule = optax.schedules.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=max(config.steps, config.warmup_steps + 1),
        end_value=config.learning_rate * config.final_learning_rate_ratio,
    )
    return lambda count: schedule(count + 1)


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Clips the global norm of the gradient, then AdamW."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            make_schedule(config),
            b1=config.b1,
            b2=config.b2,
            weight_decay=config.weight_decay,
            mask=decay_mask,
        ),
    )


def decay_mask(params: Params) -> Params:
    """True for each leaf that decays."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in DECAYED, params)
