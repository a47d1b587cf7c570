"""The files that pages give to copy, once for all tests."""

from pathlib import Path

import pytest

from tests.docs.files import write_files


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder with every file that a page gives to copy; the commands are run in it."""
    folder = tmp_path_factory.mktemp("copied")
    write_files(folder)
    return folder
