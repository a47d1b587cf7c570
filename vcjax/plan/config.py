"""A run's configuration without its data, which a plan doesn't read."""

from collections.abc import Mapping
from typing import Any

from vcjax.train.config import TrainConfig, kind_of

NO_DATA = "(a plan reads no data)"


def plan_config(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration of a run whose data may still be to come.

    Raises:
      UserError: a field that doesn't hold; see `TrainConfig.from_dict`.
    """
    kind = kind_of(values.get("stage", ""), values.get("objective", ""))
    data = values.get(kind) or NO_DATA
    return TrainConfig.from_dict({**values, kind: data})
