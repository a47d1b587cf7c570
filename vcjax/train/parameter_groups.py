"""Groups of parameters: which multiplier of learning rate and weight decay each one has."""

import difflib
import re
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from vcjax.core.errors import UserError
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.train.config import TrainConfig
from vcjax.train.settings import GroupSettings
from vcjax.weights.adapters import split_adapters

Groups = tuple[GroupSettings, ...]
Path = tuple[str, ...]
"""Keys from the root of a tree of parameters to a leaf."""

_NO_GROUP = GroupSettings(".*", 1.0, 1.0)


def path_of(entries: tuple[Any, ...]) -> Path:
    """The path that `jax.tree_util` gives to a leaf of nested dicts, as plain keys."""
    return tuple(entry.key for entry in entries)


def group_of(groups: Groups, path: Path) -> GroupSettings:
    """The first group whose pattern matches the whole dotted path, e.g. `layers.q.kernel`."""
    dotted = ".".join(path)
    return next((group for group in groups if re.fullmatch(group.pattern, dotted)), _NO_GROUP)


def split_frozen(groups: Groups, tree: Params) -> tuple[Params, Params]:
    """Returns (what is trained, what a learning rate of 0 freezes), each where it stood."""
    flat = flatten_dict(tree)
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
        if matched <= decided:
            raise UserError(f"{where} comes too late: earlier patterns decide over all it matches")
        decided |= matched
    if not split_frozen(config.groups, tree)[0]:
        raise UserError("config.groups: freeze all parameters; leave one a learning_rate above 0")
