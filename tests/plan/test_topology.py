"""Topologies by name, and what the names count."""

import pytest

from vcjax.core.errors import UserError
from vcjax.core.hardware import HARDWARE, hardware_of
from vcjax.plan.topology import read_topology


@pytest.mark.parametrize(
    ("name", "devices", "shape", "text"),
    [
        ("v5e-64", 64, "8x8", "64 chips (8x8), 1 TensorCore and one JAX device each"),
        ("v6e-8", 8, "2x4", "8 chips (2x4), 1 TensorCore and one JAX device each"),
        ("v5p-128", 64, "4x4x4", "64 chips (4x4x4), 2 TensorCores and one JAX device each"),
        ("h100x8", 8, "", "8 GPUs"),
        ("a100-40gbx16", 16, "", "16 GPUs"),
        ("cpu:8", 8, "", "8 virtual devices on this CPU"),
    ],
)
def test_a_name_counts_what_its_vendor_counts(name, devices, shape, text):
    topology = read_topology(name)
    assert (topology.devices, topology.shape, topology.text) == (devices, shape, text)


def test_whole_cubes_are_rings_and_small_slices_are_not():
    assert read_topology("v5p-128").torus
    assert not read_topology("v5p-64").torus
    assert not read_topology("v5e-64").torus
    assert read_topology("v5e-256").torus


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("v5e-63", "there is no slice 'v5e-63'; there are v5e-1, v5e-4"),
        ("v5p-9", "there is no slice 'v5p-9'; there are v5p-8, v5p-16"),
        ("h100-8", "'h100-8' is none of v5e-N.*did you mean 'h100'"),
        ("tpu", "'tpu' is none of"),
        ("cpu:0", "'cpu:0' is none of"),
    ],
)
def test_a_topology_that_isnt_made_is_refused(name, says):
    with pytest.raises(UserError, match=says):
        read_topology(name)


def test_a_device_is_known_by_what_jax_calls_it():
    assert hardware_of("TPU v5 lite") is HARDWARE["v5e"]
    assert hardware_of("NVIDIA H100 80GB HBM3") is HARDWARE["h100"]
    assert hardware_of("cpu") is None
