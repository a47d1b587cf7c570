"""Invariant 10: every parameter's gradient in bfloat16 is within 1 % of float32's."""

from collections.abc import Mapping

import pytest

from tests.train.gradient_precision import CASES, errors

QUICK = (CASES[0], ("tied, adapted", "next_token"))  # `tests/slow` has the others
BOUND = 0.01


def check(title: str, found: Mapping[str, float]) -> None:
    """Prints the table, and holds it to the bound."""
    print(f"\n{title}: error of the gradient in bfloat16, of the norm in float32")
    for name, value in found.items():
        print(f"  {name:<32} {100 * value:5.2f} %")
    assert {name: value for name, value in found.items() if not value < BOUND} == {}


@pytest.mark.parametrize(("model", "objective"), QUICK)
def test_gradients_in_bfloat16_are_those_of_float32(model, objective):
    check(f"{model}, {objective}", errors(model, objective))
