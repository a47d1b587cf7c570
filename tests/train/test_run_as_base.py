"""A run's checkpoint as a base model: sharded as it is read, with adapters merged."""

import jax
import numpy as np
import pytest

from vcjax.model.build import logical_axes, shapes
from vcjax.parallel import make_mesh, shardings
from vcjax.weights.load import load_model, open_model
from vcjax.weights.sharded import load_sharded


@pytest.mark.parametrize("whole", ["full", "adapted"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_is_read_onto_a_mesh_as_into_memory(whole, dtype, request, monkeypatch):
    workdir = str(request.getfixturevalue(whole))
    wanted = load_model(workdir, dtype).params
    model = open_model(workdir)
    tree = shapes(model.config, param_dtype=np.dtype(dtype))
    places = shardings(make_mesh({"fsdp": -1}), logical_axes(model.config), tree)
    layout = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        tree,
        places,
    )
    if whole == "full":  # its arrays go to the devices, and not by the memory of the host
        monkeypatch.setattr(type(model.source), "tensor", lambda *_: pytest.fail("read whole"))
    loaded = load_sharded(model.source, model.config, layout)
    assert jax.tree.structure(loaded) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(loaded), jax.tree.leaves(wanted), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
