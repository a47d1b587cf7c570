"""Steps as datatrove's blocks, and what is submitted to Slurm; `tests/slow` runs both clusters."""

import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.writers import ParquetWriter
from pyarrow.parquet import read_table

from tests.scripts import ran
from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.data.corpus.blocks import StepBlock

GOOD = (
    "The charter of the village says who may speak at a meeting and how long. In spring the people "
    "come together under the old tree, and anyone who has lived there for a year can ask for the "
    "word. A keeper of time turns a glass with sand. When it has run out, the next one begins, "
    "even in the middle of a sentence. Visitors find this hard, but those who grew up with it "
    "have learned to say first what matters most, and to leave the rest for the walk home."
)


def rows(folder):
    (path,) = folder.iterdir()
    return read_table(path).to_pylist()


def test_steps_run_in_a_pipeline_of_datatrove(tmp_path):
    documents = [
        Document(GOOD + "\u200b Write to ann@nowhere-mail.net!", "a", metadata={"source": "web"}),
        Document("Short.", "b"),
    ]
    pipeline = [
        documents,
        StepBlock("normalise"),
        StepBlock("language"),
        StepBlock("personal"),
        StepBlock("quality", exclusion_writer=ParquetWriter(str(tmp_path / "removed"))),
        ParquetWriter(str(tmp_path / "out")),
    ]
    LocalPipelineExecutor(pipeline, logging_dir=str(tmp_path / "logs"), workers=1).run()
    (kept,) = rows(tmp_path / "out")
    assert kept["id"] == "a"
    assert "ann@nowhere-mail.net" not in kept["text"]
    assert "\u200b" not in kept["text"]
    assert (kept["metadata"]["source"], kept["metadata"]["lang"]) == ("web", "en")
    (removed,) = rows(tmp_path / "removed")
    assert removed["id"] == "b"
    counted = {each["name"]: each["stats"] for each in read_json(tmp_path / "logs" / "stats.json")}
    quality = next(stats for name, stats in counted.items() if "quality" in name)
    assert f"dropped_{removed['metadata']['filter_reason']}" in quality
    assert (quality["total"], quality["forwarded"]) == (2, 1)


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


def test_a_workdir_with_a_space_is_refused_before_slurm_gets_it(script_cache, tmp_path):
    (tmp_path / "a.txt").write_text("One.")
    fields = {"documents": tmp_path / "a.txt", "executor": "slurm", "slurm.dry_run": True}
    arguments = [f"--config.{name}={value}" for name, value in fields.items()]
    code, _, err = ran("prepare", [f"--workdir={tmp_path / 'my run'}", *arguments], script_cache)
    assert code == 2
    assert "my run" in err
    assert "has a space" in err
    assert not (tmp_path / "my run").exists()
