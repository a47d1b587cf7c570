"""What the tests of whole runs share."""

from pathlib import Path

import jax
import numpy as np

from vcjax.train.logging import read_metrics

LORA = {"rank": 2, "alpha": 8.0, "targets": ".*", "dropout": 0.1}


def equal(one, other) -> None:
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, one, other)


def losses(workdir: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(workdir)]
