"""A conversion takes a fraction of the model's memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.weights.conftest import arrays, publish
from tests.weights.same_tensors import digests
from tests.weights.test_export import deep, room
from vcjax.core.files import read_json

# Fixtures.
__all__ = ["arrays", "deep", "publish", "room"]

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
