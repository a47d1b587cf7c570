"""Hugging Face tensor names and our parameter tree: one table, used in both directions."""

import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from vcjax.core.errors import UserError
from vcjax.model.build import Params, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.rope import FREQUENCIES

_LAYER = {
    "attention_norm.weight": "input_layernorm.weight",
    "q.kernel": "self_attn.q_proj.weight",
    "k.kernel": "self_attn.k_proj.weight",
    "v.kernel": "self_attn.v_proj.weight",
    "o.kernel": "self_attn.o_proj.weight",
    "q.bias": "self_attn.q_proj.bias",
    "k.bias": "self_attn.k_proj.bias",
    "v.bias": "self_attn.v_proj.bias",
    "o.bias": "self_attn.o_proj.bias",
    "q_norm.weight": "self_attn.q_norm.weight",
    "k_norm.weight": "self_attn.k_norm.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "gate.kernel": "mlp.gate_proj.weight",
    "up.kernel": "mlp.up_proj.weight",
    "down.kernel": "mlp.down_proj.weight",
    "gate.bias": "mlp.gate_proj.bias",
    "up.bias": "mlp.up_proj.bias",
    "down.bias": "mlp.down_proj.bias",
}
_TOP = {
    "embedding": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head": "lm_head.weight",
}
_HEAD = "lm_head.weight"
_EMBEDDING = "model.embed_tokens.weight"
_ROWS = 8192
"""Rows of a redundant matrix that are compared at a time."""
_INV_FREQ = re.compile(r"(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.inv_freq")


Bounds = tuple[tuple[int, int], ...]
"""A box in an array: where it starts and stops, [start, stop), along each axis."""


class Source(Protocol):
    """Tensors by Hugging Face name, each read when it is asked for.

    A class that can read a part of a tensor by itself does so in `part`.
    """

    def names(self) -> list[str]:
        """Names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        ...

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor."""
        ...

    def part(self, name: str, bounds: Bounds) -> np.ndarray:
        """Reads what is between `bounds` of one tensor."""
        return self.tensor(name)[_slices(bounds)]


class StackedSource(Source):
    """Tensors that are stored as a model has them, the layers stacked."""

    def onto(self, layout: Params) -> Params:
        """Reads the parameters onto a mesh; `layout` is that of `load_sharded`, none quantised."""
        ...


class TensorLocation(NamedTuple):
    """Where a tensor is in the parameter tree.

    Attributes:
      name: the tensor's Hugging Face name.
      path: of the leaf in the tree.
      layer: the tensor's index in the stacked leaf, or None outside the layers.
      shape: of the leaf, without the axis of the layers.
    """

    name: str
    path: tuple[str, ...]
    layer: int | None
    shape: tuple[int, ...]

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of the tensor as Hugging Face stores it: matrices are [out, in]."""
        if self.path[-1] == "head":
            return self.shape[::-1]
        if self.path[-1] != "kernel":
            return self.shape if self.path[-1] == "embedding" else (math.prod(self.shape),)
        if self.path[-2] == "o":
            return self.shape[-1], math.prod(self.shape[:-1])
        return math.prod(self.shape[1:]), self.shape[0]

    def leaf(self, tensor: np.ndarray) -> np.ndarray:
        """The tensor as the tree stores it: a view."""
        return (tensor.T if self._transposed else tensor).reshape(self.shape)

    def read(self, source: Source, bounds: Bounds) -> np.ndarray:
        """Reads what is between `bounds` of the leaf, and nothing else of the tensor.

        Only the first of the axes that the tensor has as one can be read in part; the others are
        read whole and cut here.
        """
        groups = [bounds]  # of the leaf's axes, one for each axis of the tensor
        if self._transposed or self.path[-1] == "embedding":
            split = len(self.shape) - 1 if self.path[-2:-1] == ("o",) else 1
            groups = [bounds[:split], bounds[split:]]
        # Hugging Face flattens heads and head_dim into one axis. A range of heads is one range of
        # it, a range of head_dim isn't: that is cut after reading.
        sizes, wanted, cut = iter(self.shape), [], []
        for (start, stop), *rest in groups:
            next(sizes)
            inner = [next(sizes) for _ in rest]
            wanted.append((start * math.prod(inner), stop * math.prod(inner)))
            cut.append(((stop - start, *inner), (slice(None), *_slices(tuple(rest)))))
        order = wanted[::-1] if self._transposed else wanted
        part = source.part(self.name, tuple(order))
        shape = sum((sizes for sizes, _ in cut), ())
        part = (part.T if self._transposed else part).reshape(shape)
        return part[sum((slices for _, slices in cut), ())]

    def tensor(self, leaf: np.ndarray) -> np.ndarray:
        """The leaf as Hugging Face stores it: a view, where `leaf` is in C order."""
        shape = self.tensor_shape
        return leaf.reshape(shape[::-1]).T if self._transposed else leaf.reshape(shape)

    @property
    def projection(self) -> str | None:
        """Name of the projection whose kernel the tensor is, if it is one of a layer's."""
        return self.path[1] if self.layer is not None and self.path[-1] == "kernel" else None

    @property
    def _transposed(self) -> bool:
        # PyTorch's `Linear` stores [out, in] and multiplies by the transpose; here rows of tokens
        # are multiplied by a kernel as it is, [in, out].
        return self.path[-1] in ("kernel", "head")


@cache
def tensor_locations(config: LlamaConfig) -> tuple[TensorLocation, ...]:
    """The location of every tensor of a model, in the order of the layers."""
    tree = shapes(config)
    found = [
        TensorLocation(_TOP[".".join(path)], path, None, leaf.shape)
        for path, leaf in _leaves({k: v for k, v in tree.items() if k != "layers"})
    ]
    for layer in range(config.num_layers):
        for path, leaf in _leaves(tree["layers"]):
            name = f"model.layers.{layer}.{_LAYER['.'.join(path)]}"
            found.append(TensorLocation(name, ("layers", *path), layer, leaf.shape[1:]))
    return tuple(found)


def _leaves(tree: Params, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in tree.items():
        if isinstance(child, dict):
            yield from _leaves(child, (*path, name))
        else:
            yield (*path, name), child


def import_params(source: Source, config: LlamaConfig, dtype: Any, where: str) -> Params:
    """Reads every tensor of `source` into a stacked parameter tree of numpy arrays.

    The tensors are checked, then read one by one into the tree, so that at most one is in memory
    twice.

    Args:
      where: how to name the source in an error.

    Raises:
      UserError: see `check_tensors`.
    """
    check_tensors(source, config, where)
    tree: Params = {}
    for path, leaf in _leaves(shapes(config)):
        _set(tree, path, np.empty(leaf.shape, dtype))
    for location in tensor_locations(config):
        target = _get(tree, location.path)
        # Assigning casts to `dtype`, so that no second copy of the tree is made.
        index = ... if location.layer is None else location.layer
        target[index] = location.leaf(source.tensor(location.name))
    return tree


class WholeSource(Source):
    """A source of exactly the tensors that a config describes, neither more nor fewer."""

    def __init__(self, config: LlamaConfig) -> None:
        self._locations = {each.name: each for each in tensor_locations(config)}

    def names(self) -> list[str]:
        return list(self._locations)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._locations[name].tensor_shape


class ParamsSource(WholeSource):
    """A stacked parameter tree in memory as a source; the reverse of `import_params`."""

    def __init__(self, params: Params, config: LlamaConfig) -> None:
        super().__init__(config)
        self._params = params

    def tensor(self, name: str) -> np.ndarray:
        """One tensor in the dtype of the parameters."""
        location = self._locations[name]
        leaf = _get(self._params, location.path)
        return location.tensor(np.asarray(leaf if location.layer is None else leaf[location.layer]))


def check_tensors(source: Source, config: LlamaConfig, where: str) -> None:
    """Checks that `source` is a model of `config`, reading none but the redundant tensors.

    Args:
      where: how to name the source in an error.

    Raises:
      UserError: a tensor is missing, unknown, of another shape, or redundant but different.
    """
    names = set(source.names())
    expected = {location.name for location in tensor_locations(config)}
    missing = sorted(expected - names)
    if missing:
        raise UserError(f"{where}: tensor {missing[0]!r} is missing{_more(missing)}")
    redundant = {n for n in names if _INV_FREQ.fullmatch(n)}
    if config.tie_embeddings:
        redundant |= names & {_HEAD}
    extra = sorted(names - expected - redundant)
    if extra:
        raise UserError(f"{where}: tensor {extra[0]!r} is not part of this model{_more(extra)}")
    for location in tensor_locations(config):
        wanted, found = location.tensor_shape, tuple(source.shape(location.name))
        if wanted != found:
            raise UserError(
                f"{where}: tensor {location.name!r} has shape {found}, the config says {wanted}"
            )
    # Compared before they are dropped: an `lm_head` that isn't the embedding, in a model that is
    # declared tied, means a wrong config, and logits that are wrong without any error.
    for name in sorted(redundant):
        if not _agrees(source, config, name):
            raise UserError(f"{where}: {name!r} contradicts the config; it can't be dropped")


def _agrees(source: Source, config: LlamaConfig, name: str) -> bool:
    """Whether a redundant tensor equals what it must."""
    if name == _HEAD:
        if (shape := source.shape(name)) != source.shape(_EMBEDDING):
            return False
        rows, width = shape
        boxes = (((start, min(start + _ROWS, rows)), (0, width)) for start in range(0, rows, _ROWS))
        return all(
            np.array_equal(source.part(name, box), source.part(_EMBEDDING, box)) for box in boxes
        )
    wanted = FREQUENCIES[config.rope.rope_type](config.rope, config.head_dim)
    # Within 1 %: stored in bfloat16 it is rounded by up to 0.4 %. Another theta differs by more.
    found = np.asarray(source.tensor(name), np.float32)
    return found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-2)


def _slices(bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in bounds)


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _get(tree: Params, path: tuple[str, ...]) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _set(tree: Params, path: tuple[str, ...], value: np.ndarray) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value
