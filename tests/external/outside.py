"""Paths of third-party data: models and data sets that the project doesn't contain.

`VCJAX_TEST_DATA` names a folder that contains `data/` and `models/`. Without it, whatever imports
this module is skipped as a whole; with it, nothing in this folder may be skipped (`conftest.py`).
"""

import os
from pathlib import Path

import pytest

VARIABLE = "VCJAX_TEST_DATA"

if not os.environ.get(VARIABLE):
    pytest.skip(f"{VARIABLE} names no folder of outside data", allow_module_level=True)

OUTSIDE = Path(os.environ[VARIABLE]).resolve()
DATA, MODELS = OUTSIDE / "data", OUTSIDE / "models"

for _folder in (DATA, MODELS):
    if not _folder.is_dir():
        raise FileNotFoundError(f"{VARIABLE}: no folder {_folder}")
