"""What is recorded is kept: through kills, full disks and limits."""

import itertools
import multiprocessing
import shutil
import signal
import subprocess
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.adversarial.attempts import ASK, STAGES, attempt, call, decide
from tests.processes import file_size_limit
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.roles.role import Reply


def until_it_is_full(ledger: Ledger, first: int = 0) -> int:
    """Records calls until there is no room; how many there was room for."""
    recorded = []

    def record_on() -> None:
        for number in itertools.count(first):
            call(ledger, f"{number}", "actor", Reply("x" * 3000, "stop", 4, 2))
            recorded.append(number)

    with pytest.raises(OSError, match="what was recorded is kept") as caught:
        record_on()
    assert caught.value.filename == str(ledger.path)
    return len(recorded)


def kept(path: Path) -> int:
    with opened_to_read(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return connection.execute("SELECT count(*) FROM calls").fetchone()[0]


def test_a_limit_of_file_sizes_loses_nothing_and_the_run_continues_after_it(path):
    with Ledger(path) as ledger:
        with file_size_limit(2**18):
            recorded = until_it_is_full(ledger)
        assert 0 < recorded == kept(path)
        call(ledger, f"{recorded}", "actor")
    assert kept(path) == recorded + 1


def test_a_full_disk_loses_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        path = small / "ledger.sqlite"
        with Ledger(path) as ledger:
            recorded = until_it_is_full(ledger)
            with suppress(OSError), ledger.transaction():
                until_it_is_full(ledger, recorded)
                raise OSError  # as it would have, had the test not caught it
            assert 0 < recorded == kept(path)
        copied = shutil.copytree(small, tmp_path / "roomy") / "ledger.sqlite"
        with Ledger(copied) as ledger:
            call(ledger, f"{recorded}", "actor")
        assert kept(copied) == recorded + 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def record_on_and_on(path: Path, said: Connection) -> None:
    """Records attempts as fast as it can, and says which calls and attempts it knows to be kept."""
    ledger, number = Ledger(path), 0
    while True:
        planned = attempt(number)
        for stage in STAGES:
            if ledger.reply(planned.id, stage, ASK) is None:
                call(ledger, planned.id, stage)
                said.send([planned.id, stage])
        if number not in {row["number"] for row in ledger.decided()}:
            decide(ledger, planned)
            said.send([planned.id, "decided"])
        number += 1


def test_a_kill_at_any_moment_loses_nothing_that_was_recorded(path):
    spawned = multiprocessing.get_context("spawn")
    told: set[tuple[str, str]] = set()
    for count in (1, 17, 40, 3, 25):
        hears, says = spawned.Pipe(duplex=False)
        process = spawned.Process(target=record_on_and_on, args=(path, says))
        process.start()
        says.close()
        for _ in range(count):
            told.add(tuple(hears.recv()))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        while hears.poll():
            try:
                told.add(tuple(hears.recv()))
            except EOFError:
                break
        with opened_to_read(path) as connection:
            there = {tuple(row) for row in connection.execute("SELECT attempt, stage FROM calls")}
            rows = connection.execute("SELECT id FROM attempts JOIN details USING (key)")
            there |= {(id, "decided") for (id,) in rows}
        assert told <= there
        assert len(there - told) <= 1  # what was recorded and not said any more
        told = there
