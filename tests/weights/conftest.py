"""A small model, loaded and as a published Hugging Face folder."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from tests.parity.random_models import CASES, tensors
from vcjax.core.files import write_json


@pytest.fixture(scope="session")
def arrays() -> Callable[..., dict[str, np.ndarray]]:
    """A function from a case and a dtype to tensors by Hugging Face name."""

    @cache
    def make(case: str, dtype: str = "float32") -> dict[str, np.ndarray]:
        return {n: a.astype(jnp.dtype(dtype)) for n, a in tensors(CASES[case]).items()}

    return lambda case, dtype="float32": dict(make(case, dtype))


@pytest.fixture(scope="session")
def publish() -> Callable[..., Path]:
    """A function that writes a Hugging Face folder without this project's own writer."""

    def write(folder: Path, case: str, arrays: dict, files: int = 1, **changes: object) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", {**CASES[case], **changes})
        names = sorted(arrays)
        if files == 1:
            safetensors.numpy.save_file(arrays, folder / "model.safetensors")
            return folder
        weight_map = {}
        for number in range(files):
            file = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
            own = names[number::files]
            safetensors.numpy.save_file({n: arrays[n] for n in own}, folder / file)
            weight_map.update(dict.fromkeys(own, file))
        write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
        return folder

    return write


@pytest.fixture(scope="session")
def stored() -> Callable[[Path], dict[str, np.ndarray]]:
    """A function from a folder to every tensor in its safetensors files."""

    def read(folder: Path) -> dict[str, np.ndarray]:
        found = {}
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="np") as tensors:
                found.update({name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118
        return found

    return read


@pytest.fixture(scope="session")
def assert_same_bits() -> Callable[[dict, dict], None]:
    """Compares two sets of tensors by name, dtype, shape and bytes."""

    def compare(one: dict, other: dict) -> None:
        assert one.keys() == other.keys()
        for name, array in one.items():
            assert array.dtype == other[name].dtype, name
            assert array.shape == other[name].shape, name
            assert array.tobytes() == other[name].tobytes(), name

    return compare
