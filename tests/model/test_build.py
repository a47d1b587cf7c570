"""A model's graph is a static argument of what is compiled: hashed at every call, so cheaply."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vcjax.model.build import abstract, initialise, plain_logits


def test_a_graph_is_hashed_once_and_graphs_of_one_config_share_what_is_compiled(tiny, monkeypatch):
    count, whole = 0, nnx.GraphDef.__hash__

    def counted(graph: nnx.GraphDef) -> int:
        nonlocal count
        count += 1
        return whole(graph)

    monkeypatch.setattr(nnx.GraphDef, "__hash__", counted)
    first, again = (abstract(tiny.config, stacked=False)[0] for _ in range(2))
    other, _ = abstract(tiny.config, stacked=True)
    traced = []

    @partial(jax.jit, static_argnames=("graph",))
    def run(graph: nnx.GraphDef) -> int:
        traced.append(graph)
        return len(graph.nodes)

    for graph in (first, again, other) * 3:
        run(graph)
    assert traced == [first, other]
    assert count == 3


def test_a_single_token_of_a_model_with_a_tied_head_has_the_logits_of_a_text_s_first(tiny):
    config = replace(tiny.config, tie_embeddings=True)
    graph, params = abstract(config)[0], initialise(config, 3)
    alone = plain_logits(graph, params, jnp.array([[100]]))
    text = plain_logits(graph, params, jnp.array([[100, 101, 102]]))
    np.testing.assert_allclose(alone, text[:, :1], rtol=0, atol=1e-5)
