"""The sharding of the optimiser's state, and its offload to host memory."""

from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from jax.sharding import PartitionSpec

from vcjax.core.errors import UserError
from vcjax.parallel import abstract_mesh
from vcjax.train.layout import make_layout
from vcjax.train.offload import check_offload
from vcjax.train.optim import make_optimizer

ROOT = Path(__file__).parents[2]


def test_unfactored_moments_of_adapters_are_shared_out(model_config, make_config):
    """Adapters are too narrow to be factored, and Adafactor has a state for each parameter."""
    mesh = abstract_mesh({"fsdp": 2, "tensor": 2}, 4, "cpu", "cpu")
    config = make_config(optimizer="adafactor", lora={"rank": 2, "alpha": 8.0})
    layout = make_layout(model_config, config, make_optimizer(config), mesh)
    moments = {
        leaf.shape: leaf.sharding.spec
        for leaf in jax.tree.leaves(layout.optimizer)
        if leaf.shape in {(2, 16, 2), (2, 2, 32)}
    }
    assert moments == {
        (2, 16, 2): PartitionSpec(None, "fsdp", None),
        (2, 2, 32): PartitionSpec(None, None, "tensor"),
    }


def test_a_backend_that_reaches_no_memory_of_its_host_is_named(make_config):
    # No backend of JAX's lacks it on this machine.
    bare = SimpleNamespace(
        platform="metal", addressable_memories=lambda: [SimpleNamespace(kind="device")]
    )
    with pytest.raises(UserError, match="offload: metal devices reach no pinned_host"):
        check_offload(make_config(offload=True), [*jax.local_devices(), bare])
    check_offload(make_config(offload=True), jax.local_devices())
    check_offload(make_config(offload=False), [bare])
