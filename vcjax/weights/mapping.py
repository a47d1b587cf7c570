"""Hugging Face tensor names and our parameter tree: one table, used in both directions."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from vcjax.foundation.errors import UserError
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
_INV_FREQ = re.compile(r"(model\.layers\.\d+\.self_attn|model)\.rotary_emb\.inv_freq")


class Source(Protocol):
    """Tensors by Hugging Face name, each read when it is asked for."""

    def names(self) -> list[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def tensor(self, name: str) -> np.ndarray: ...


def _places(config: LlamaConfig) -> Iterator[tuple[str, tuple[str, ...], int | None, tuple]]:
    """Yields (HF name, path in the tree, layer or None, shape of one layer's leaf)."""
    tree = shapes(config)
    for path, leaf in _leaves({k: v for k, v in tree.items() if k != "layers"}):
        yield _TOP[".".join(path)], path, None, leaf.shape
    for layer in range(config.num_layers):
        for path, leaf in _leaves(tree["layers"]):
            name = f"model.layers.{layer}.{_LAYER['.'.join(path)]}"
            yield name, ("layers", *path), layer, leaf.shape[1:]


def _leaves(tree: Params, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in tree.items():
        if isinstance(child, dict):
            yield from _leaves(child, (*path, name))
        else:
            yield (*path, name), child


def _hf_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the tensor as Hugging Face stores it: matrices are [out, in]."""
    if path[-1] == "head":
        return shape[::-1]
    if path[-1] != "kernel":
        return shape if path[-1] == "embedding" else (int(np.prod(shape)),)
    if path[-2] == "o":
        return shape[-1], int(np.prod(shape[:-1]))
    return int(np.prod(shape[1:])), shape[0]


def _transposed(path: tuple[str, ...]) -> bool:
    return path[-1] in ("kernel", "head")


def import_params(source: Source, config: LlamaConfig, dtype: Any, where: str) -> Params:
    """Reads every tensor of `source` into a stacked parameter tree of numpy arrays.

    Names and shapes are checked before a tensor is read; tensors are read one by one into their
    place, so that at most one tensor is held twice.

    Args:
      where: how to name the source in an error.

    Raises:
      UserError: a tensor is missing, unknown, of another shape, or redundant but different.
    """
    places = list(_places(config))
    _check(source, config, places, where)
    tree: Params = {}
    for path, leaf in _leaves(shapes(config)):
        _set(tree, path, np.empty(leaf.shape, dtype))
    for name, path, layer, shape in places:
        tensor = source.tensor(name)
        matrix = tensor.T if _transposed(path) else tensor
        target = _get(tree, path)
        target[... if layer is None else layer] = matrix.reshape(shape)
    _check_redundant(source, config, tree, where)
    return tree


def export_tensors(
    params: Params, config: LlamaConfig, dtype: Any
) -> Iterator[tuple[str, tuple[int, ...], Callable[[], np.ndarray]]]:
    """Yields (HF name, shape, function that makes the tensor) in the order of the layers."""
    for name, path, layer, shape in _places(config):
        hf_shape = _hf_shape(path, shape)

        def make(path=path, layer=layer, hf_shape=hf_shape) -> np.ndarray:
            leaf = _get(params, path)
            value = np.asarray(leaf if layer is None else leaf[layer])
            flat = value.reshape(hf_shape[::-1]).T if _transposed(path) else value
            return np.ascontiguousarray(flat.reshape(hf_shape).astype(dtype))

        yield name, hf_shape, make


def _check(source: Source, config: LlamaConfig, places: list, where: str) -> None:
    names = set(source.names())
    expected = {name for name, *_ in places}
    missing = sorted(expected - names)
    if missing:
        raise UserError(f"{where}: tensor {missing[0]!r} is missing{_more(missing)}")
    redundant = {n for n in names if _INV_FREQ.fullmatch(n)}
    if config.tie_embeddings:
        redundant.add(_HEAD)
    extra = sorted(names - expected - redundant)
    if extra:
        raise UserError(f"{where}: tensor {extra[0]!r} is not part of this model{_more(extra)}")
    for name, path, _, shape in places:
        wanted, found = _hf_shape(path, shape), tuple(source.shape(name))
        if wanted != found:
            raise UserError(f"{where}: tensor {name!r} has shape {found}, the config says {wanted}")


def _check_redundant(source: Source, config: LlamaConfig, tree: Params, where: str) -> None:
    for name in source.names():
        if config.tie_embeddings and name == _HEAD:
            equal = np.array_equal(source.tensor(name), source.tensor(_EMBEDDING))
        elif _INV_FREQ.fullmatch(name):
            wanted = FREQUENCIES[config.rope.rope_type](config.rope, config.head_dim)
            found = np.asarray(source.tensor(name), np.float32)
            equal = found.shape == wanted.shape and np.allclose(found, wanted, rtol=1e-2)
        else:
            continue
        if not equal:
            raise UserError(f"{where}: {name!r} contradicts the config; it can't be dropped")


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
