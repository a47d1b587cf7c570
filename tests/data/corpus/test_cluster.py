"""Steps as datatrove's blocks, and what is submitted to Slurm; `tests/slow` runs both clusters."""

import json
from pathlib import Path

import pytest
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from tests.scripts import ran
from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.data.corpus.blocks import StepBlock

GOOD = "The text of this document is long enough, and it has the words that English has. " * 20


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_steps_run_in_a_pipeline_of_datatrove(tmp_path):
    rows = [
        {"id": "a", "text": GOOD + "\u200b Write to ann@example.org!", "source": "web"},
        {"id": "b", "text": "Short."},
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    taken_out = JsonlWriter(str(tmp_path / "removed"), compression=None)
    pipeline = [
        JsonlReader(str(tmp_path / "in")),
        StepBlock("normalise"),
        StepBlock("language"),
        StepBlock("personal"),
        StepBlock("quality", exclusion_writer=taken_out),
        JsonlWriter(str(tmp_path / "out"), compression=None),
    ]
    LocalPipelineExecutor(pipeline, logging_dir=str(tmp_path / "logs"), workers=1).run()
    (kept,) = read_lines(tmp_path / "out" / "00000.jsonl")
    assert kept["id"] == "a"
    assert "ann@example.org" not in kept["text"]
    assert "\u200b" not in kept["text"]
    assert (kept["metadata"]["source"], kept["metadata"]["lang"]) == ("web", "en")
    (removed,) = read_lines(tmp_path / "removed" / "00000.jsonl")
    assert removed["id"] == "b"
    counted = {each["name"]: each["stats"] for each in read_json(tmp_path / "logs" / "stats.json")}
    quality = next(stats for name, stats in counted.items() if "quality" in name)
    assert quality[f"dropped_{removed['metadata']['filter_reason']}"]["total"] == 1


def test_a_pass_has_no_block_and_a_wrong_setting_is_named():
    with pytest.raises(UserError, match="duplicates: decides by all documents"):
        StepBlock("duplicates")
    with pytest.raises(UserError, match=r"settings\.quality\.lenght"):
        StepBlock("quality", {"lenght": 3})


def test_a_dry_run_prints_what_slurm_would_get(script_cache, tmp_path):
    (tmp_path / "a.txt").write_text("One.\n" * 500_000)
    values = {
        "documents": tmp_path / "a.txt",
        "shard_mb": 1,
        "workers": 5,
        "executor": "slurm",
        "slurm.partition": "cpus",
        "slurm.options": "account=lab",
        "slurm.dry_run": True,
    }
    arguments = [f"--config.{name}={value}" for name, value in values.items()]
    code, out, _ = ran("prepare", [f"--workdir={tmp_path / 'out'}", *arguments], script_cache)
    assert code == 0
    for line in (
        "#SBATCH --array=0-2%5",
        "#SBATCH --partition=cpus",
        "#SBATCH --account=lab",
        "#SBATCH --mem-per-cpu=1G",
        "#SBATCH --wait",
    ):
        assert line in out.splitlines()
    assert "launch_pickled_pipeline" in out
    assert not (tmp_path / "out" / "config.json").exists()
