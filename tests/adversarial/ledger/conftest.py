"""Where a test's ledger is."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "ledger.sqlite"
