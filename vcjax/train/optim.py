"""The learning rate of each step, and what a gradient does to the parameters at that rate.

Sources: Loshchilov and Hutter, arXiv 1711.05101 (AdamW: decay apart from the gradient) and
1608.03983 (cosine); Hu et al., 2404.06395 (warm-up, stable, decay); Shazeer and Stern, 1804.04235
(Adafactor); Chen et al., 2302.06675 (Lion); Jordan et al., https://kellerjordan.github.io/posts/muon
and Liu et al., 2502.16982 (Muon and its scale).
"""

import difflib
import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from vcjax.core.errors import UserError
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import join_params, split_adapters
from vcjax.train.config import TrainConfig
from vcjax.train.matrices import (
    Path,
    by_matrix,
    is_hidden_matrix,
    matrix_axes,
    matrix_sides,
    path_of,
)
from vcjax.train.settings import GroupSettings

Groups = tuple[GroupSettings, ...]

_NO_GROUP = GroupSettings(".*", 1.0, 1.0)

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
    # A fall of 0 steps is, for Optax, one that stays at its first value: the peak.
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
    # Optax's schedules begin with count 0, at which a warm-up's rate is 0: a step for nothing.
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
        isn't in the norm, and `update` returns them as they are.
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
        *,
        count: Float[Array, ""] | float = 1.0,
    ) -> tuple[Params, Any]:
        """Returns (trainable, state) after an update.

        Args:
          gradients: of a loss that is summed over `count` terms; those of the mean loss would be a
            second copy of them in memory.
          norm: of the gradients of the mean loss.
        """
        trained, still = split_frozen(self.groups, trainable)
        # One multiplication for clipping and for the mean: each is a pass over all gradients. Where
        # the norm is 0 the ratio is infinite, and the minimum 1.
        scale = jnp.minimum(1.0, self.clip_norm / norm) / count
        clipped = optax.tree.scale(scale, split_frozen(self.groups, gradients)[0])
        changes, state = self.transform.update(clipped, state, trained)
        moved = jax.tree.map(lambda leaf, change: leaf + learning_rate * change, trained, changes)
        return join_params(moved, still), state


def make_optimizer(config: TrainConfig) -> Optimizer:
    """The config's optimiser.

    For each of them weight decay is apart from the gradient and multiplied by the learning rate.
    Adafactor has no use for `b1` and `b2`; Muon's momentum is `b1`.
    """
    transform = optax.chain(_direction(config), _decay_and_rates(config))
    return Optimizer(transform, config.groups, config.clip_norm)


def _direction(config: TrainConfig) -> optax.GradientTransformation:
    b1, b2 = config.b1, config.b2
    # At a rate of 1 and without decay: `_decay_and_rates` and `Optimizer.update` do the rest.
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
        # An orthogonalised matrix has a root mean square of max(sides)**-0.5. The sign is that of
        # descent, which Optax's other optimisers have in them and `scale_by_muon` hasn't.
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
            # Updates point downhill already, so that decay is subtracted from them.
            update = update - config.weight_decay * group.weight_decay * leaf
        # The group's rate multiplies the decay as well: a group that learns a tenth as fast is
        # pulled towards zero a tenth as fast, and its parameters settle at the same size.
        return group.learning_rate * update

    return optax.stateless(lambda *trees: jax.tree_util.tree_map_with_path(change, *trees))


# -------------------------------------------------------------------------------------------------
# Groups of parameters: multipliers of the learning rate and the weight decay.
# -------------------------------------------------------------------------------------------------


def group_of(groups: Groups, path: Path) -> GroupSettings:
    """The first group whose pattern matches the whole dotted path, e.g. `layers.q.kernel`."""
    dotted = ".".join(path)
    return next((group for group in groups if re.fullmatch(group.pattern, dotted)), _NO_GROUP)


def split_frozen(groups: Groups, tree: Params) -> tuple[Params, Params]:
    """Returns (what is trained, what a learning rate of 0 freezes), each under its path."""
    flat = flatten_dict(tree)
    # Decided by path, when the step is traced: a frozen group has neither moments nor an update,
    # where a rate of 0 inside the update would have cost the memory and the time of both.
    trained = {path for path in flat if group_of(groups, path).learning_rate}
    return (
        unflatten_dict({path: leaf for path, leaf in flat.items() if path in trained}),
        unflatten_dict({path: leaf for path, leaf in flat.items() if path not in trained}),
    )


def check_groups(config: TrainConfig, model: LlamaConfig) -> None:
    """Checks the patterns against the parameters that a run would train.

    Raises:
      UserError: a pattern that decides over none of them, or nothing left to train.
    """
    tree = shapes(model, lora=config.adapters)
    if config.adapters:
        tree, _ = split_adapters(tree)
    names = [".".join(path) for path in flatten_dict(tree)]
    decided: set[str] = set()
    for number, group in enumerate(config.groups):
        where = f"config.groups[{number}].pattern: {group.pattern!r}"
        matched = {name for name in names if re.fullmatch(group.pattern, name)}
        if not matched:
            near = difflib.get_close_matches(group.pattern.replace("\\", ""), names, 3, 0.0)
            raise UserError(f"{where} matches no trained parameter; near are {', '.join(near)}")
        # The first pattern that matches decides, so a later one may be without effect: a mistake
        # that would otherwise show in nothing but the result.
        if matched <= decided:
            raise UserError(f"{where} comes too late: earlier patterns decide over all it matches")
        decided |= matched
    if not split_frozen(config.groups, tree)[0]:
        raise UserError("config.groups: freeze all parameters; leave one a learning_rate above 0")
