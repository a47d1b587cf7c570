"""Preparing data takes the same memory whatever the size of the file: the slope, and the bound."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SIZES = (20, 120, 240)  # MB; the first warms up what grows at the start and then no more
BOUND = 1 << 30  # bytes, for a file of 10 GB
WHOLE = 10_000  # MB
WORDS = [
    "people",
    "disagree",
    "about",
    "borders",
    "and",
    "they",
    "can",
    "say",
    "why",
    "一个人可以不同意",
    "也可以说明理由",
]

PREPARE = """
import sys
from benchmarks.serve import peak_resident
from vcjax.data.importers import Records
from vcjax.data.preparation import prepare
from tests.tiny import tiny_tokenizer
records = Records(sys.argv[1], "documents")
for _ in records:
    pass
read = peak_resident()
if sys.argv[2]:
    prepare(sys.argv[2], records, "documents", tiny_tokenizer(), 1024)
print(read, peak_resident())
"""


def write(path: Path, megabytes: int) -> None:
    """Documents of 1 kB, no two the same; one JSON array, which has no lines to read by.

    Each has three words of its own, so that the cache of an `Encoder` (100,000 words) is full well
    before the second size: what it takes doesn't grow from there on.
    """
    with path.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for number in range(megabytes * 1000):
            words = (WORDS[(number * 31 + n * (number % 7 + 1)) % len(WORDS)] for n in range(140))
            own = " ".join(str(number + n * 10**7) for n in range(3))
            record = {"text": f"{own} " + " ".join(words), "source": "test"}
            stream.write(",\n" * bool(number) + json.dumps(record, ensure_ascii=False))
        stream.write("]")


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_ten_gigabytes_take_less_than_one_of_memory(tmp_path, form):
    """An array, which has no lines to read by, is prepared too; lines are read alone."""
    peaks = []
    for size in SIZES:
        array, path = tmp_path / "array.json", tmp_path / f"{size}.{form}"
        write(array, size)
        if form == "json":
            array.rename(path)
        else:
            lines = (line.strip("[],\n") for line in array.open(encoding="utf-8"))
            path.write_text("\n".join(lines), encoding="utf-8")
        out = str(tmp_path / f"out-{size}") if form == "json" else ""
        command = [sys.executable, "-c", PREPARE, str(path), out]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append([int(value) for value in done.stdout.split()[-2:]])
        print(
            f"{form}, {size} MB: read {peaks[-1][0] >> 20} MiB, prepared {peaks[-1][1] >> 20} MiB"
        )
        path.unlink()
    for step in range(2):
        slope = (peaks[2][step] - peaks[1][step]) / (SIZES[2] - SIZES[1])
        print(f"{slope / 2**20:.3f} MiB for each MB of file")
        assert peaks[2][step] + max(0.0, slope) * (WHOLE - SIZES[2]) < BOUND


def test_a_million_digests_take_little_memory():
    """Printed: seconds, and bytes on disk, which `Digests` states."""
    script = """
import hashlib, time
from benchmarks.serve import peak_resident
from vcjax.data.digests import Digests
before, begun = peak_resident(), time.perf_counter()
with Digests() as seen:
    assert all(seen.add(hashlib.sha256(b"%d" % n).digest()) for n in range(1_000_000))
    assert not seen.add(hashlib.sha256(b"7").digest())
    pages = seen._database.execute("PRAGMA page_count").fetchone()[0] * 4096
print(peak_resident() - before, time.perf_counter() - begun, pages)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    grown, seconds, pages = (float(value) for value in done.stdout.split()[-3:])
    print(f"{grown / 2**20:.0f} MiB of memory, {pages / 1e6:.0f} MB on disk, {seconds:.1f} s")
    assert grown < 64 << 20


def test_texts_that_are_measured_on_take_little_memory_however_many():
    """Printed: memory at 20,000 and at 80,000 texts of 800 characters, seconds, and disk."""
    script = """
import random, time
from benchmarks.serve import peak_resident
from vcjax.data.near_duplicates import StoredNearDuplicates
words = [f"word{n}" for n in range(5000)]
draw, peaks, begun = random.Random(0), [], time.perf_counter()
with StoredNearDuplicates(0.8) as stored:
    for number in range(80_000):
        text = " ".join(draw.choices(words, k=90))
        stored.add(str(number), text)
        if number + 1 in (20_000, 80_000):
            assert stored.first_match(text + " more") == str(number)
            peaks.append(peak_resident())
    pages = stored._database.execute("PRAGMA page_count").fetchone()[0] * 4096
print(peaks[1] - peaks[0], time.perf_counter() - begun, pages)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    grown, seconds, pages = (float(value) for value in done.stdout.split()[-3:])
    print(f"{grown / 2**20:.0f} MiB more, {pages / 1e6:.0f} MB on disk, {seconds:.1f} s")
    assert grown < 32 << 20
