"""Fixtures of several packages' tests: the tiny model of `tests/tiny.py`, made once."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import compilation  # noqa: F401  (before JAX, which reads what it sets)

# isort: split
import jax

from tests.tiny import tiny_model, write_charter
from vcjax.generate.engine import Engine
from vcjax.generate.text import TextEngine
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel

# No test may fail because a machine is busy, nor by the luck of a draw: `make test` is the same
# everywhere. `--hypothesis-profile=explore` draws anew each time.
_PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, **_PATIENT)
hypothesis.settings.register_profile("explore", **_PATIENT)
hypothesis.settings.load_profile("same")


@pytest.fixture(autouse=True)
def no_settings_leak() -> Iterator[None]:
    """What a test sets of JAX, it sets back: the next one may run in any order, or alone."""
    before = _settings()
    yield
    after = _settings()
    leaked = {name: after[name] for name in after if after[name] != before.get(name)}
    leaked |= {name: None for name in before if name not in after}
    for name in leaked:
        if not name.isupper():
            jax.config.update(name, before[name])
        elif name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    assert not leaked, f"left set for the tests that follow: {leaked}"


def _settings() -> dict[str, object]:
    variables = {name: os.environ[name] for name in os.environ if name[:4] in ("JAX_", "XLA_")}
    return {**jax.config.values, **variables}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """The tiny model as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    write_model(folder, tiny_model(), form="hf")
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> LoadedModel:
    return load_model(str(tiny_folder))


@pytest.fixture(scope="session")
def engine(tiny: LoadedModel) -> Engine:
    """Four slots: fewer than most tests' requests."""
    return Engine(tiny.config, tiny.params, slots=4)


@pytest.fixture(scope="session")
def text_engine(tiny: LoadedModel, engine: Engine) -> TextEngine:
    return TextEngine(tiny, engine)


@pytest.fixture(scope="session")
def small_charter() -> Callable[..., Path]:
    """A function that writes a short charter file; see `tests.tiny.write_charter`."""
    return write_charter


@pytest.fixture(scope="session")
def script_cache(tmp_path_factory) -> Path:
    """Where launch scripts keep what they compile, for all tests together."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def gs() -> Iterator[str]:
    """An emulated bucket, as `gs://NAME`."""
    from tests.bucket import emulated_gcs  # few tests need it

    with emulated_gcs() as address:
        yield address


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """An emulated bucket, as `s3://NAME`."""
    from tests.bucket import emulated_s3

    with emulated_s3() as address:
        yield address


@pytest.fixture(params=["gs", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> str:
    """A folder of its own in a bucket of each kind, with a cache of its own on this machine."""
    monkeypatch.setenv("VCJAX_CACHE", str(tmp_path / "cache"))
    return f"{request.getfixturevalue(request.param)}/{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture
def checkpoint_store(gs: str, tmp_path: Path, monkeypatch) -> str:
    """As `store`, of the kind that Orbax keeps checkpoints in."""
    monkeypatch.setenv("VCJAX_CACHE", str(tmp_path / "cache"))
    return f"{gs}/{tmp_path.parent.name}/{tmp_path.name}"
