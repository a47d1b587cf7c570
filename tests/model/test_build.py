"""A model's graph is a static argument of what is compiled: hashed at every call, so cheaply."""

from functools import partial

import jax
from flax import nnx

from vcjax.model.build import abstract


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
