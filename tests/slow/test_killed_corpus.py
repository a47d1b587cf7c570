"""A corpus that is made by several processes, and killed: the same bytes as of one process."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.processes import ROOT
from tests.slow.test_flat_memory import WORDS
from vcjax.core.files import read_json

MEGABYTES = 4
LONG = 100  # millions of characters of one line


def write_inputs(folder: Path, megabytes: int = MEGABYTES, long: int = LONG) -> str:
    """Writes about so many megabytes of documents, and a line of `long` million characters."""
    draw = np.random.default_rng(0)
    lines = [
        json.dumps({"text": " ".join(draw.choice(WORDS, 200)) + f". The end {n}. And so.", "n": n})
        for n in range(megabytes * 400)
    ]
    half = len(lines) // 2
    (folder / "a.jsonl").write_text("\n".join([*lines[:half], "{oops"]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines[half:]).encode()))
    with (folder / "c.txt").open("w") as stream:
        stream.write("short\n")
        for _ in range(long):
            stream.write("x" * 10**6)
        stream.write("\nshort too\n")
    return ",".join(str(folder / name) for name in ("a.jsonl", "b.jsonl.gz", "c.txt"))


def start(names: str, model: Path, workdir: Path, workers: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "launch.prepare", f"--workdir={workdir}"]
    values = {"documents": names, "model": model, "length": 512, "workers": workers, "shard_mb": 1}
    command += [f"--config.{name}={value}" for name, value in values.items()]
    workdir.parent.mkdir(exist_ok=True)
    with (workdir.parent / "errors").open("a") as errors:  # a pipe might be full
        return subprocess.Popen(command, cwd=ROOT, stderr=errors, start_new_session=True)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("lineage.json", ".lock")
    }


def processes_of(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def test_kills_and_the_number_of_processes_change_no_byte(tmp_path, tiny_folder):
    names = write_inputs(tmp_path)
    whole = start(names, tiny_folder, tmp_path / "1" / "corpus", 1)
    assert whole.wait() == 0, (tmp_path / "1" / "errors").read_text()
    expected = hashes(tmp_path / "1" / "corpus")
    workdir = tmp_path / "2" / "corpus"
    kills = 0
    while True:
        run = start(names, tiny_folder, workdir, 2)
        shards = len(list(workdir.glob(".work/*/*.json")))
        while run.poll() is None:
            done = len(list(workdir.glob(".work/*/*.json")))
            done += len(list(workdir.glob(".work/*/*/counts.json")))
            if kills < 4 and done >= shards + 3:
                break
            time.sleep(0.02)
        if run.poll() is not None:
            break
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        kills += 1
        patience = time.monotonic() + 30
        while processes_of(run.pid) and time.monotonic() < patience:
            time.sleep(0.05)
        assert not processes_of(run.pid), "a process outlived the run that started it"
    assert run.returncode == 0, (tmp_path / "2" / "errors").read_text()
    assert kills == 4
    assert hashes(workdir) == expected
    summary = read_json(workdir / "summary.json")
    assert summary["quarantined"] == 2
    bad = [json.loads(line) for line in (workdir / "quarantined.jsonl").read_text().splitlines()]
    assert [(Path(each["file"]).name, each["line"]) for each in bad] == [
        ("a.jsonl", MEGABYTES * 200 + 1),
        ("c.txt", 2),
    ]
    assert f"a line of {LONG * 10**6 + 1:,} bytes" in bad[1]["reason"]
