"""The learning rate of each step, and what a gradient does to the parameters at that rate.

Sources: Loshchilov and Hutter, arXiv 1711.05101 (AdamW: decay apart from the gradient) and
1608.03983 (cosine); Hu et al., 2404.06395 (warm-up, stable, decay); Shazeer and Stern, 1804.04235
(Adafactor); Chen et al., 2302.06675 (Lion); Jordan et al., https://kellerjordan.github.io/posts/muon
and Liu et al., 2502.16982 (Muon and its scale).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from vcjax.model.build import Params
from vcjax.train.config import TrainConfig
from vcjax.train.matrices import by_matrix, is_hidden_matrix, matrix_axes, matrix_sides
from vcjax.train.parameter_groups import Groups, group_of, path_of, split_frozen
from vcjax.weights.adapters import join

DECAYED = ("kernel", "embedding", "head")
"""Names of the leaves with weight decay: matrices of the model; no norm, bias or adapter."""

MUON_RMS = 0.2
"""Root mean square of Muon's updates: that of AdamW's, so that one rate and decay suit both
(Liu et al., section 2.2)."""


def make_schedule(config: TrainConfig) -> optax.Schedule:
    """Learning rate of the update that follows `count` earlier ones.

    The first update has a rate above 0 and the last one the final rate (`constant`: the peak). A
    run that ends with its warm-up ends at the peak.
    """
    peak, final = config.learning_rate, config.learning_rate * config.final_learning_rate_ratio
    after = config.steps - config.warmup_steps
    length = {"constant": 0, "wsd": config.decay_steps}.get(config.schedule, after)
    if config.schedule == "cosine":
        ratio = config.final_learning_rate_ratio
        fall = optax.schedules.cosine_decay_schedule(peak, max(length, 1), ratio)
    else:
        fall = optax.schedules.linear_schedule(peak, final, length)
    rise = optax.schedules.linear_schedule(0.0, peak, config.warmup_steps)
    flat = optax.schedules.constant_schedule(peak)
    ends = [config.warmup_steps, config.steps - length]
    schedule = optax.schedules.join_schedules([rise, flat, fall], ends)
    return lambda count: schedule(count + 1)


@dataclass(frozen=True)
class Optimizer:
    """Clipping, an optimiser's direction, weight decay and rates, over what is trained.

    The learning rate is an argument of each update, and not a schedule inside `transform`, since
    Optax's schedules count the updates that were made: one that is skipped would delay all later
    rates.

    Attributes:
      transform: from clipped gradients to changes at a learning rate of 1.
      groups: those with a learning rate of 0 are left out: they have no state, their gradient
        isn't in the norm, and `update` hands them on.
      clip_norm: largest global norm of a gradient.
    """

    transform: optax.GradientTransformation
    groups: Groups
    clip_norm: float

    def init(self, trainable: Params) -> Any:
        """The state before the first update."""
        trained, _ = split_frozen(self.groups, trainable)
        return self.transform.init(trained)

    def norm(self, gradients: Params) -> Float[Array, ""]:
        """Global norm of the gradient of what is trained."""
        return optax.tree.norm(split_frozen(self.groups, gradients)[0])

    def update(
        self,
        gradients: Params,
        norm: Float[Array, ""],
        state: Any,
        trainable: Params,
        learning_rate: Float[Array, ""],
        count: Float[Array, ""] | float = 1.0,
    ) -> tuple[Params, Any]:
        """Returns (trainable, state) after an update.

        Args:
          gradients: of a loss that is summed over `count` terms; those of the mean loss would be a
            second copy of them in memory.
          norm: of the gradients of the mean loss.
        """
        trained, still = split_frozen(self.groups, trainable)
        scale = jnp.minimum(1.0, self.clip_norm / norm) / count
        clipped = optax.tree.scale(scale, split_frozen(self.groups, gradients)[0])
        changes, state = self.transform.update(clipped, state, trained)
        moved = jax.tree.map(lambda leaf, change: leaf + learning_rate * change, trained, changes)
        return join(moved, still), state


def make_optimizer(config: TrainConfig) -> Optimizer:
    """The config's optimiser.

    For each of them weight decay is apart from the gradient and multiplied by the learning rate.
    Adafactor has no use for `b1` and `b2`; Muon's momentum is `b1`.
    """
    transform = optax.chain(_direction(config), _decay_and_rates(config))
    return Optimizer(transform, config.groups, config.clip_norm)


def _direction(config: TrainConfig) -> optax.GradientTransformation:
    b1, b2 = config.b1, config.b2
    if config.optimizer == "lion":
        return optax.lion(1.0, b1, b2, weight_decay=0.0)
    if config.optimizer == "muon":
        return optax.partition({"muon": _muon(b1), "adam": optax.adam(1.0, b1, b2)}, _muon_or_adam)
    if config.optimizer == "adafactor":
        # Without its scale by the size of a parameter, so that the rate means what it does for
        # the others and adapters, which begin at 0, move.
        return by_matrix(optax.adafactor(multiply_by_parameter_scale=False))
    return optax.adam(1.0, b1, b2)


def _muon(momentum: float) -> optax.GradientTransformation:
    """Muon for the matrices of layers; Optax takes each layer's by itself."""

    def numbers(params: Any) -> Any:
        def one(entries: tuple, leaf: Array) -> MuonDimensionNumbers:
            axes = matrix_axes(path_of(entries), leaf.ndim)
            assert axes is not None, entries
            return MuonDimensionNumbers(*axes)

        return jax.tree_util.tree_map_with_path(one, params)

    def scaled(entries: tuple, change: Array) -> Array:
        sides = matrix_sides(path_of(entries), change.shape)
        return change * (-MUON_RMS * max(sides) ** 0.5)

    orthogonal = scale_by_muon(beta=momentum, weight_dimension_numbers=numbers)
    scale = optax.stateless(lambda tree, _: jax.tree_util.tree_map_with_path(scaled, tree))
    return optax.chain(orthogonal, scale)


def _muon_or_adam(params: Params) -> Params:
    def label(entries: tuple, leaf: Array) -> str:
        return "muon" if is_hidden_matrix(path_of(entries), leaf.ndim) else "adam"

    return jax.tree_util.tree_map_with_path(label, params)


def _decay_and_rates(config: TrainConfig) -> optax.GradientTransformation:
    """Subtracts the decay of each leaf, and multiplies by its group's rate."""

    def change(entries: tuple, update: Array, leaf: Array) -> Array:
        path = path_of(entries)
        group = group_of(config.groups, path)
        if path[-1] in DECAYED:
            update = update - config.weight_decay * group.weight_decay * leaf
        return group.learning_rate * update

    return optax.stateless(lambda *trees: jax.tree_util.tree_map_with_path(change, *trees))
