"""Adapters apart from the model that they adapt, and together again."""

from flax.traverse_util import flatten_dict, unflatten_dict

from vcjax.model.build import Params
from vcjax.model.lora import LEAVES


def split_adapters(params: Params) -> tuple[Params, Params]:
    """Returns (the adapters' leaves, the rest), each in the places where they stood."""
    flat = flatten_dict(params)
    adapters = {path: leaf for path, leaf in flat.items() if path[-1] in LEAVES}
    rest = {path: leaf for path, leaf in flat.items() if path[-1] not in LEAVES}
    return unflatten_dict(adapters), unflatten_dict(rest)


def join(one: Params, other: Params) -> Params:
    """The leaves of both trees in one."""
    return unflatten_dict({**flatten_dict(one), **flatten_dict(other)})
