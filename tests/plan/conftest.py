"""Plans of well-known shapes, laid out but not compiled."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from configs import sft
from vcjax.model.build import NAMED
from vcjax.plan.setting import Setting, plan_config, settle
from vcjax.plan.topology import read_topology


@pytest.fixture(scope="session")
def laid_out() -> Callable[..., Setting]:
    """A function from a variant of `configs/sft.py`, a topology and changes to a setting.

    Changes of a nested part are merged into it; `layers` cuts the model short.
    """

    def make(variant: str, topology: str, layers: int | None = None, **changes) -> Setting:
        values = sft.get_config(variant).to_dict()
        for name, value in changes.items():
            values[name] = {**values[name], **value} if isinstance(value, dict) else value
        config = plan_config(values)
        model = NAMED[config.model]
        model = replace(model, num_layers=layers or model.num_layers)
        return settle(model, config, read_topology(topology))

    return make
