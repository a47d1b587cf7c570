"""What several rooms' tests share: the tiny model of `tests/tiny.py`, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import tiny_bundle, write_charter
from vcjax.generate.engine import Engine
from vcjax.generate.text import TextEngine
from vcjax.weights.bundle import Bundle, load_bundle, write_bundle


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """The tiny model as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    write_bundle(folder, tiny_bundle(), form="hf")
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Bundle:
    return load_bundle(str(tiny_folder))


@pytest.fixture(scope="session")
def engine(tiny: Bundle) -> Engine:
    """Four slots: fewer than most tests' requests."""
    return Engine(tiny.config, tiny.params, slots=4)


@pytest.fixture(scope="session")
def text_engine(tiny: Bundle, engine: Engine) -> TextEngine:
    return TextEngine(tiny, engine)


@pytest.fixture(scope="session")
def small_charter() -> Callable[..., Path]:
    """A function that writes a short charter file; see `tests.tiny.write_charter`."""
    return write_charter


@pytest.fixture(scope="session")
def script_cache(tmp_path_factory) -> Path:
    """Where launch scripts keep what they compile, for all tests together."""
    return tmp_path_factory.mktemp("cache")
