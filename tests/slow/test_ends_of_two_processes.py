"""How a run of two processes ends is decided once: the second doesn't read its own folder."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import ROOT, coordinator
from vcjax.core.defaults import training_config
from vcjax.core.files import read_json, write_json, write_jsonl

TEXT = "People disagree about borders, and they can say why. "
HELD_OUT = (
    "A shared record is a floor that no side may take away; what is argued over is its sense."
)


@dataclass(frozen=True)
class Found:
    """What the two processes have left.

    Attributes:
      ends: by scenario, how each of them ended.
      hashed: files that each of them has hashed in all scenarios.
      verified: files of checkpoints that each of them has hashed in the last scenario.
      printed: standard error of each.
    """

    ends: dict[str, list[dict]]
    hashed: list[list[str]]
    verified: list[list[str]]
    printed: list[str]


@pytest.fixture(scope="module")
def found(tmp_path_factory, tiny_folder) -> Found:
    folder = tmp_path_factory.mktemp("ends")
    documents, nothing = folder / "documents.jsonl", folder / "nothing"
    write_jsonl(documents, [{"text": TEXT * (n + 1), "source": "test"} for n in range(12)])
    held_out = folder / "held_out.jsonl"
    write_jsonl(held_out, [{"text": HELD_OUT, "source": "test"}])
    bad = folder / "bad.jsonl"
    write_jsonl(bad, [{"text": TEXT, "source": "test"}] * 2 + [{"text": 5, "source": "test"}])
    run, new = folder / "run", folder / "new"

    def config(**changes) -> dict:
        values = training_config("cpt").to_dict() | {
            "model": str(tiny_folder),
            "documents": str(documents),
        }
        values |= {"length": 64, "batch_size": 4, "warmup_steps": 0, "checkpoint_every": 50}
        values |= {"steps": 9, "learning_rate": 3.0, "schedule": "constant"}
        values |= {"charter": "universal"}
        values["lora"]["rank"] = 0
        values["validation"] |= {"data": str(held_out), "every": 1, "batches": 1, "patience": 1}
        return values | changes

    def scenario(first: Path, second: Path, **changes) -> dict:
        configs = [config(**changes)] * 2
        return {"configs": configs, "workdirs": [str(first), str(second)]}

    missing = scenario(new, new)
    missing["configs"] = [config(), config(documents=str(folder / "gone.jsonl"))]
    scenarios = {
        "stopped early": scenario(run, run),
        "finished": scenario(run, nothing),
        "another config": scenario(run, nothing, seed=7),
        "a model that is gone": scenario(new, nothing, model=str(folder / "no-model")),
        "data that one of them lacks": missing,
        "not one finite loss": scenario(folder / "wild", folder / "wild", **wild(config())),
        "a workdir that is a file": scenario(documents, nothing),
        "a bad record": scenario(new, new, documents=str(bad)),
        "a trained base": scenario(new, new, model=str(run), documents=str(folder / "no.jsonl")),
    }
    write_json(folder / "scenarios.json", list(scenarios.values()))
    launch = ["--config=configs/cpt.py", "--config.length=64", "--config.batch_size=4"]
    launch += [f"--config.model={tiny_folder}", f"--config.documents={bad}", f"--workdir={new}"]
    printed = together(str(folder / "scenarios.json"), str(folder / "out"), *launch)
    first, second = (read_json(folder / f"out.{rank}.json") for rank in range(2))
    assert not nothing.exists()
    assert not new.exists()
    pairs = zip(first["ends"], second["ends"], strict=True)
    ends = dict(zip(scenarios, map(list, pairs), strict=True))
    return Found(
        ends=ends,
        hashed=[first["hashed"], second["hashed"]],
        verified=[first["verified"][-1], second["verified"][-1]],
        printed=printed,
    )


@pytest.fixture
def ends(found) -> dict[str, list[dict]]:
    return found.ends


def wild(config: dict) -> dict:
    """Changes that make every update but the first one infinite."""
    validation = {**config["validation"], "data": "", "every": 0, "patience": 0}
    return {"learning_rate": 1e30, "max_skipped": 1, "validation": validation}


def together(*arguments: str) -> list[str]:
    """Runs `tests.distributed.ends` as two processes; returns what each wrote to standard error."""
    command = [sys.executable, "-m", "tests.distributed.ends", *arguments]
    given = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    with coordinator() as address:
        processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | given | {"JAX_COORDINATOR_ADDRESS": address, "RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], errors
    return errors


def test_both_stop_early_at_one_step_and_find_the_run_finished_afterwards(ends):
    first, second = ends["stopped early"]
    assert first == second
    assert first["early"] == first["steps"] < 9
    assert ends["finished"] == [first, first]


@pytest.mark.parametrize(
    ("scenario", "end", "message"),
    [
        ("another config", "UserError", "belongs to a run of another config (seed: 0 -> 7)"),
        ("a model that is gone", "UserError", "no-model: no such folder"),
        ("data that one of them lacks", "UserError", "gone.jsonl: no such file"),
        ("not one finite loss", "GateNotMet", "update(s) in a row were skipped"),
        ("a workdir that is a file", "UserError", "is a file; a workdir is a folder"),
        ("a bad record", "UserError", "bad.jsonl:3: "),
        ("a trained base", "UserError", "no.jsonl: no such file"),
    ],
)
def test_both_end_by_what_one_of_them_found(ends, scenario, end, message):
    first, second = ends[scenario]
    assert first == second
    assert message in first[end]


def test_a_bad_record_that_one_of_them_reads_is_one_line_of_each_script(found):
    for printed in found.printed:
        (line,) = (line for line in printed.splitlines() if line.startswith("error"))
        assert line == printed.splitlines()[-1]
        assert "bad.jsonl:3: " in line
        assert "Traceback" not in printed


def test_only_one_of_them_hashes_what_the_run_is_made_from(found):
    hashed = [{Path(name).name for name in names} for names in found.hashed]
    assert {"universal.yaml", "documents.jsonl", "held_out.jsonl", "config.json"} <= hashed[0]
    assert hashed[1] == set()


def test_only_one_of_them_verifies_the_checkpoint_of_a_base(found):
    first, second = found.verified
    assert len(first) == len(set(first)) > 1
    assert second == []
