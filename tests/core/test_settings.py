"""From dicts to dataclasses: every mistake is named by the path that the user wrote."""

from dataclasses import dataclass

import pytest

from vcjax.core.errors import UserError
from vcjax.core.settings import build


@dataclass(frozen=True)
class Inner:
    rate: float
    name: str = "adam"
    on: bool = False

    def __post_init__(self):
        if self.rate <= 0:
            raise UserError(f"config.rate: must be above 0, not {self.rate}")


@dataclass(frozen=True)
class Outer:
    steps: int
    inner: Inner


def test_nested_classes_are_built_and_defaults_filled():
    built = build(Outer, {"steps": 3, "inner": {"rate": 1}}, "config")
    assert built == Outer(3, Inner(1.0))
    assert isinstance(built.inner.rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stps": 3}, "config.stps: unknown field; did you mean 'steps'?"),
        ({"inner": {"rate": 1.0}}, "config.steps: this field is missing"),
        ({"steps": 3, "inner": {"rte": 1.0}}, "config.inner.rte: unknown field; did you mean"),
        ({"steps": 3, "inner": {}}, "config.inner.rate: this field is missing"),
        ({"steps": 3, "inner": 4}, "config.inner: must have the fields rate, name, on, not 4"),
        ({"steps": True, "inner": {"rate": 1.0}}, "config.steps: must be an integer, not True"),
        ({"steps": 3.0, "inner": {"rate": 1.0}}, "config.steps: must be an integer, not 3.0"),
        ({"steps": 3, "inner": {"rate": "x"}}, "config.inner.rate: must be a number, not 'x'"),
        ({"steps": 3, "inner": {"rate": True}}, "config.inner.rate: must be a number, not True"),
        ({"steps": 3, "inner": {"rate": 1.0, "on": 1}}, "config.inner.on: must be True or False"),
        ({"steps": 3, "inner": {"rate": 1.0, "name": 1}}, "config.inner.name: must be a string"),
        ({"steps": 3, "inner": {"rate": -1.0}}, "config.inner.rate: must be above 0, not -1.0"),
    ],
)
def test_a_mistake_is_named_by_its_field(values, message):
    with pytest.raises(UserError) as caught:
        build(Outer, values, "config")
    assert str(caught.value).startswith(message)
