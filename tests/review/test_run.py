"""A review as `launch.review` runs it: its folder, its sheets, and who may use it."""

import csv
import os
import signal
import threading
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.scripts import ran
from tests.serve.servers import eventually
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify
from vcjax.review.run import Address, ReviewConfig, opened, serve_review
from vcjax.serve.listening import listening


def test_a_sheet_goes_out_and_comes_in_by_the_script(first, tmp_path, script_cache):
    sheet, workdir = tmp_path / "sheet.csv", tmp_path / "review"
    flags = [f"--run={first}", f"--workdir={workdir}"]
    code, out, error = ran("review", [*flags, f"--sheet_out={sheet}"], script_cache)
    assert (code, out) == (0, ""), error
    assert error.splitlines()[-1] == f"{sheet}: 10 answers to score"
    with sheet.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[0]["score"] = "3"
    with sheet.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    given = [*flags, f"--sheet_in={sheet}", "--annotator=Li"]
    code, _, error = ran("review", given, script_cache)
    assert code == 0, error
    assert error.splitlines()[-1] == f"{sheet}: 1 questions scored by Li, 9 left"
    assert [r["judge"] for _, r in read_jsonl(workdir / "scores.jsonl")] == ["Li"]
    summary = read_json(workdir / "summary.json")
    assert summary["annotators"] == {"Li": {"scored": 1, "skipped": 0, "left": 9, "mean": 3.0}}
    assert {finding.status for finding in verify(workdir)} == {"ok"}

    code, _, error = ran("review", [*given, "--seed=1"], script_cache)
    assert code == 2
    assert "belongs to a run of another config (seed: 0 -> 1)" in error
    code, _, error = ran("review", [*flags, f"--sheet_out={sheet}"], script_cache)
    assert code == 2
    assert "is there already" in error


def test_two_processes_do_not_write_into_one_review(first, tmp_path):
    config = ReviewConfig(str(first))
    with (
        opened(config, str(tmp_path / "review")),
        pytest.raises(UserError, match="another run is using it"),
        opened(config, str(tmp_path / "review")),
    ):
        pass


def test_the_server_ends_at_a_signal_with_its_lineage_written(first, tmp_path):
    workdir = tmp_path / "review"
    with listening("127.0.0.1", 0) as free:
        port = free.getsockname()[1]

    def is_serving() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/api/setting", timeout=5) as reply:
                return reply.status == 200
        except URLError:
            return False

    def stop() -> None:
        eventually(is_serving)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop)
    stopper.start()
    serve_review(ReviewConfig(str(first)), str(workdir), Address(port=port))
    stopper.join()
    assert {finding.status for finding in verify(workdir)} == {"ok"}
