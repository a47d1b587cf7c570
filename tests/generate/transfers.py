"""Counts what an engine uploads to its devices and downloads of them."""

from typing import Any

import pytest

from vcjax.generate.layout import ModelLayout
from vcjax.generate.sampling import unpack


def recorded_transfers(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    """The arrays that engines upload, and those that they download, from now on."""
    uploads, downloads = [], []
    upload, download = ModelLayout.upload, unpack
    monkeypatch.setattr(
        ModelLayout, "upload", lambda self, array: uploads.append(array) or upload(self, array)
    )
    monkeypatch.setattr(
        "vcjax.generate.engine.unpack", lambda array: downloads.append(array) or download(array)
    )
    return uploads, downloads
