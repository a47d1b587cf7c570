"""How models are held: what a config may ask for, and what the machine must have."""

import re

import jax.numpy as jnp
import pytest

from vcjax.core.errors import UserError
from vcjax.generate.holding import Holding
from vcjax.weights.bundle import load_bundle


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": 0}, "config.slots must be at least 1, not 0"),
        ({"tensor": -1}, "config.tensor must be at least 1, not -1"),
        ({"dtype": "float8"}, "dtype 'float8' is not supported"),
        ({"weights": "int4"}, "config.weights must be one of '', 'int8', not 'int4'"),
    ],
)
def test_a_holding_is_checked(changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Holding(**changes)


def test_devices_that_are_not_there_are_an_error():
    assert len(Holding().devices()) == 1
    with pytest.raises(UserError, match=r"tensor=64: this machine has \d+ device"):
        Holding(tensor=64).devices()


def test_an_engine_is_as_its_holding_says(tiny_folder):
    bundle = load_bundle(str(tiny_folder), "bfloat16")
    engine = Holding(slots=3, weights="int8").engine(bundle, part=32)
    assert (engine.slots, engine.dtype, engine.weights) == (3, jnp.bfloat16, "int8")
