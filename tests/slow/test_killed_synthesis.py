"""A synthesis run that is killed at three of its calls ends as one that was not."""

import signal
import sqlite3
import time

from tests.adversarial.test_synthesize import (
    ATTEMPTS,
    config,
    flags,
    ledger,
    undisturbed,
)
from tests.processes import started
from tests.scripts import ran

__all__ = ["config", "undisturbed"]  # fixtures


def test_kills_lose_no_call_repeat_none_and_change_nothing(
    config, undisturbed, tmp_path, script_cache
):
    wanted = ledger(undisturbed[0])
    workdir, kept = tmp_path / "killed", []
    for share in (0.1, 0.45, 0.8):
        kept.append(killed_at(int(share * len(wanted["calls"])), config, workdir, script_cache))
    assert 0 < kept[0] < kept[1] < kept[2] < len(wanted["calls"])
    code, out, error = ran("synthesize", flags(config, workdir), script_cache)
    assert code == 0, error
    assert f"{ATTEMPTS} attempts" in out
    assert ledger(workdir) == wanted
    names = ("accepted.jsonl", "preferences.jsonl")
    for name in names:
        assert (workdir / name).read_text() == (undisturbed[0] / name).read_text()
    code, out, error = ran("synthesize", flags(config, workdir), script_cache)
    assert code == 0, error
    assert "already finished" in out
    assert ledger(workdir) == wanted


def killed_at(calls, config, workdir, cache) -> int:
    """Kills a run once it has recorded this many calls; returns how many are there afterwards."""
    process = started("synthesize", flags(config, workdir), cache)
    try:
        while process.poll() is None and recorded(workdir) < calls:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        _, error = process.communicate()
    assert process.returncode == -signal.SIGKILL, error
    assert not (workdir / "summary.json").exists()
    return recorded(workdir)


def recorded(workdir) -> int:
    path = workdir / "ledger.sqlite"
    if not path.is_file():
        return 0
    connection = sqlite3.connect(path, timeout=10)
    try:
        return connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    except sqlite3.OperationalError:  # the tables aren't there yet
        return 0
    finally:
        connection.close()
