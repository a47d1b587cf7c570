"""What each rematerialisation policy keeps for the backward pass; none changes the result."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vcjax.model.build import abstract, initialise, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.layers import POLICIES
from vcjax.model.rope import RopeConfig

LAYERS, BATCH, LENGTH, HIDDEN, MLP, HEADS, KV_HEADS, HEAD_DIM = 3, 2, 20, 40, 56, 6, 2, 8
CONFIG = LlamaConfig(
    architecture="Qwen3ForCausalLM",
    vocab_size=64,
    hidden_size=HIDDEN,
    intermediate_size=MLP,
    num_layers=LAYERS,
    num_heads=HEADS,
    num_kv_heads=KV_HEADS,
    head_dim=HEAD_DIM,
    max_position=LENGTH,
    rms_norm_eps=1e-5,
    rope=RopeConfig(original_max_position=LENGTH),
    eos_ids=(0,),
    qk_norm=True,
)
ROWS = jnp.asarray(np.random.default_rng(0).integers(0, 64, (BATCH, LENGTH)), jnp.int32)
POSITIONS = jnp.broadcast_to(jnp.arange(LENGTH), ROWS.shape)
SEGMENTS = jnp.where(POSITIONS < 13, 1, 2)

TOKENS = (BATCH, LENGTH)
STREAM = {"input": (*TOKENS, HIDDEN)}
ATTENTION = {
    "attended": (*TOKENS, HEADS, HEAD_DIM),
    "softmax": (BATCH, KV_HEADS, LENGTH, HEADS // KV_HEADS, 1),
}
PROJECTED = {
    "query": (*TOKENS, HEADS, HEAD_DIM),
    "key": (*TOKENS, KV_HEADS, HEAD_DIM),
    "value": (*TOKENS, KV_HEADS, HEAD_DIM),
    "gate": (*TOKENS, MLP),
    "up": (*TOKENS, MLP),
}
MATMULS = {
    name: (BATCH * LENGTH, size)
    for name, size in {
        "q": HEADS * HEAD_DIM,
        "k": KV_HEADS * HEAD_DIM,
        "v": KV_HEADS * HEAD_DIM,
        "o": HIDDEN,
        "gate": MLP,
        "up": MLP,
    }.items()
}
KEPT = {
    "full": STREAM,
    "projections": STREAM | ATTENTION | PROJECTED,
    "dots": STREAM | ATTENTION | MATMULS,
}


def _forward(policy: str):
    graph, _ = abstract(CONFIG, remat=policy, attention="blocks")

    def hidden(params):
        return nnx.merge(graph, params)(ROWS, POSITIONS, SEGMENTS)

    return hidden


def _residuals(policy: str) -> Counter[tuple[int, ...]]:
    """Shapes, for one layer, of what the backward pass of the layers is given beside parameters."""
    params = shapes(CONFIG)
    kept = jax.eval_shape(lambda params: jax.vjp(_forward(policy), params)[1], params)
    given = Counter(leaf.shape for leaf in jax.tree.leaves(params["layers"]))
    found = Counter(leaf.shape for leaf in jax.tree.leaves(kept) if leaf.ndim > 1)
    layered = Counter({s: n for s, n in found.items() if s[0] == LAYERS}) - given
    return Counter({shape[1:]: count for shape, count in layered.items()})


@pytest.mark.parametrize("policy", KEPT)
def test_a_policy_keeps_what_it_says_and_no_more(policy):
    assert _residuals(policy) == Counter(KEPT[policy].values())


def test_no_policy_keeps_more_than_none():
    sizes = {
        policy: sum(int(np.prod(shape)) * count for shape, count in _residuals(policy).items())
        for policy in POLICIES
    }
    assert sizes["full"] < sizes["projections"] <= sizes["dots"] < sizes["none"]


def test_every_policy_gives_the_same_output_and_gradient():
    params = initialise(CONFIG, 3)
    weight = jnp.sin(jnp.arange(BATCH * LENGTH * HIDDEN)) / HIDDEN

    def results(policy: str):
        hidden, backward = jax.vjp(_forward(policy), params)
        return hidden, backward(weight.reshape(hidden.shape))[0]

    compiled = {policy: jax.jit(lambda policy=policy: results(policy))() for policy in POLICIES}
    wanted = compiled.pop("none")
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(wanted[1]["layers"]))
    for found in compiled.values():
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, wanted)
