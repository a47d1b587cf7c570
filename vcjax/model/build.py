"""From a config to a static graph and a plain tree of parameters, and back to logits.

The configs of well-known models are here by name, without weights: for plans and benchmarks.
Source: the `config.json` of Meta-Llama-3-8B, Meta-Llama-3-70B, Llama-3.2-1B and SmolLM2-135M.
"""

from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from vcjax.model.config import LlamaConfig
from vcjax.model.llama import Llama
from vcjax.model.rope import RopeConfig

Params = dict[str, Any]
"""Nested dict of arrays, the form in which parameters flow through the project."""


class _HashedOnce(nnx.GraphDef):
    """A graph that remembers its hash.

    A jitted function hashes its static arguments at every call; for a model of 30 layers apart
    that takes milliseconds, as much as a decode step has to spare.
    """

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()


def abstract(config: LlamaConfig, **options: Any) -> tuple[Any, nnx.State]:
    """Returns (graph, state of shapes with their `axes`), allocating nothing.

    `options` are those of `Llama`. The state's leaves are `jax.ShapeDtypeStruct`s in variables.
    """
    model = nnx.eval_shape(lambda: Llama(config, rngs=nnx.Rngs(0), **options))
    graph, state = nnx.split(model)
    return _HashedOnce(graph.nodes, graph.attributes, graph.num_leaves), state


def shapes(config: LlamaConfig, **options: Any) -> Params:
    """The parameter tree of a config with `jax.ShapeDtypeStruct` leaves."""
    return nnx.to_pure_dict(_variables(config, **options))


def logical_axes(config: LlamaConfig, **options: Any) -> Params:
    """The parameter tree of a config with the logical axis names of each leaf."""
    variables = nnx.to_flat_state(_variables(config, **options))
    flat = [(path, variable.get_metadata("axes")) for path, variable in variables]
    tree: dict[Any, Any] = {}
    for path, axes in flat:
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = axes
    return tree


@cache
def _variables(config: LlamaConfig, **options: Any) -> nnx.State:
    """The state of `abstract`, made once: a plan asks for it dozens of times."""
    return abstract(config, **options)[1]


def initialise(config: LlamaConfig, seed: int, **options: Any) -> Params:
    """Random parameters from a seed."""
    model = Llama(config, rngs=nnx.Rngs(seed), **options)
    return nnx.to_pure_dict(nnx.split(model)[1])


@partial(jax.jit, static_argnames=("graph",))
def packed_logits(
    graph: Any,
    params: Params,
    tokens: Int[Array, "batch length"],
    positions: Int[Array, "batch length"],
    segment_ids: Int[Array, "batch length"],
) -> Float[Array, "batch length vocab"]:
    """Logits of whole rows; see `Llama.__call__` for the arguments."""
    model = nnx.merge(graph, params)
    return model.logits(model(tokens, positions, segment_ids))


def plain_logits(
    graph: Any, params: Params, tokens: Int[Array, "batch length"]
) -> Float[Array, "batch length vocab"]:
    """Logits of rows that have one text each, from position 0, without padding.

    Made to be compared, so matmuls are summed exactly: in float64 on a CPU, where XLA's
    float32 sums err half as much again as those of other libraries (and cost half the time), and
    in full float32 rather than TF32 on an accelerator.
    """
    if tokens.shape == (1, 1):
        # XLA's CPU backend can't sum one token's product with a tied head in float64; what follows
        # a token doesn't change its logits.
        return plain_logits(graph, params, jnp.pad(tokens, ((0, 0), (0, 1))))[:, :1]
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
    exact = "F64_F64_F64" if jax.default_backend() == "cpu" else "highest"
    with jax.default_matmul_precision(exact):
        return packed_logits(graph, params, tokens, positions, jnp.ones_like(tokens))


def _llama3(**shape: Any) -> LlamaConfig:
    fields = {
        "architecture": "LlamaForCausalLM",
        "vocab_size": 128_256,
        "num_kv_heads": 8,
        "max_position": 8_192,
        "rms_norm_eps": 1e-5,
        "rope": RopeConfig(theta=500_000.0, original_max_position=8_192),
        "bos_ids": (128_000,),
        "eos_ids": (128_001,),
    }
    return LlamaConfig(**{**fields, **shape})


NAMED = {
    "llama3-8b": _llama3(
        hidden_size=4_096, intermediate_size=14_336, num_layers=32, num_heads=32, head_dim=128
    ),
    "llama3-70b": _llama3(
        hidden_size=8_192, intermediate_size=28_672, num_layers=80, num_heads=64, head_dim=128
    ),
    "llama3.2-1b": _llama3(
        hidden_size=2_048,
        intermediate_size=8_192,
        num_layers=16,
        num_heads=32,
        head_dim=64,
        max_position=131_072,
        rope=RopeConfig(
            rope_type="llama3",
            theta=500_000.0,
            factor=32.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position=8_192,
        ),
        tie_embeddings=True,
    ),
    "smollm2-135m": LlamaConfig(
        architecture="LlamaForCausalLM",
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1_536,
        num_layers=30,
        num_heads=9,
        num_kv_heads=3,
        head_dim=64,
        max_position=8_192,
        rms_norm_eps=1e-5,
        rope=RopeConfig(theta=100_000.0, original_max_position=8_192),
        tie_embeddings=True,
        bos_ids=(0,),
        eos_ids=(0,),
        pad_id=2,
    ),
}
"""A shape by name."""
