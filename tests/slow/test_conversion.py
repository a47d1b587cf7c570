"""A conversion takes a fraction of the model's memory, and one that is killed starts again."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import ROOT, started
from tests.scripts import ran
from tests.weights.conftest import arrays, publish
from tests.weights.random_checkpoint import write_random
from tests.weights.same_tensors import digests
from vcjax.core.files import read_json

# Fixtures.
__all__ = ["arrays", "publish"]

PROC = Path("/proc/self/status")
# Converts a small model first: what the libraries take is no part of the growth.
MEASURED = """
import pathlib, re, sys
from vcjax.weights.export import save_model
from vcjax.weights.load import open_located
from vcjax.weights.resolve import resolve

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])

def there_and_back(source, out):
    for form in ("checkpoint", "hf"):
        save_model(open_located(resolve(source)), pathlib.Path(out, form), form=form)
        source = f"{out}/{form}"

there_and_back(sys.argv[1], sys.argv[2] + "/small")
before = peak()
there_and_back(sys.argv[3], sys.argv[2] + "/deep")
print(peak() - before)
"""


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A model of 320 MB in small tensors; its tensors' digests."""
    folder = tmp_path_factory.mktemp("deep") / "model"
    write_random(folder, "deep-160m", shard_bytes=100_000_000)
    yield folder, digests(folder)
    shutil.rmtree(folder)


@pytest.fixture
def room(tmp_path):
    """A folder for large files, that pytest would keep."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.skipif(not PROC.is_file(), reason="reads the peak that Linux keeps")
def test_there_and_back_takes_a_fraction_of_the_model_s_memory(deep, room, arrays, publish):
    folder, expected = deep
    small = publish(room / "in", "llama31", arrays("llama31", "bfloat16"))
    command = [sys.executable, "-c", MEASURED, str(small), str(room), str(folder)]
    # What is freed goes back to the system at once: the peak is what was held together.
    environment = os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    total = read_json(folder / "model.safetensors.index.json")["metadata"]["total_size"]
    assert int(done.stdout) * 1024 < 0.6 * total
    assert digests(room / "deep" / "hf") == expected


def test_a_killed_conversion_leaves_nothing_and_starts_again(deep, room, script_cache):
    folder, expected = deep
    target, unfinished = room / "out", room / ".out.partial"
    command = [f"--src={folder}", f"--dst={target}"]
    process = started("convert", command, script_cache)
    while process.poll() is None and not any(unfinished.glob("*.safetensors")):
        time.sleep(0.01)
    process.kill()
    _, error = process.communicate()
    assert process.returncode == -9, error
    assert unfinished.is_dir()
    assert not target.exists()
    code, _, error = ran("convert", command, script_cache)
    assert code == 0, error
    assert f"{target}: hf, bfloat16" in error.splitlines()
    assert not unfinished.exists()
    assert digests(target) == expected
