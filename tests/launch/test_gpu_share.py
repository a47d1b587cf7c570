"""Launch scripts ask JAX for the share of a GPU's memory that plans assume."""

import os
import subprocess
import sys

import pytest

from vcjax.core.hardware import GPU_SHARE

SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION"
PROGRAM = f"import sys, os, launch; print(os.environ.get('{SHARE}'), 'jax' in sys.modules)"


@pytest.mark.parametrize(
    ("own", "found"),
    [({}, GPU_SHARE), ({SHARE: "0.5"}, 0.5), ({"XLA_CLIENT_MEM_FRACTION": "0.5"}, None)],
    ids=["unset", "own", "own by its other name"],
)
def test_the_share_is_set_before_jax_is_imported_and_a_user_s_own_stands(own, found):
    names = (SHARE, "XLA_CLIENT_MEM_FRACTION")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment | own, capture_output=True, text=True
    )
    assert run.stdout == f"{found} False\n", run.stderr
