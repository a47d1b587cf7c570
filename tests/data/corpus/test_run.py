"""A corpus from raw files to rows: what is read, taken out, counted and split."""

import gzip
import json
from typing import Any

import pytest
import tensorflow_datasets as tfds

from tests.data.corpus.corpora import NoSettings, make, rows_text, steps, write_corpus
from vcjax.core.errors import UserError
from vcjax.core.lineage import verify
from vcjax.data.corpus import config as registry
from vcjax.data.corpus import run
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.pipeline import rounds_of
from vcjax.data.preparation import omissions
from vcjax.data.prepared import VALIDATION, open_prepared

__all__ = ["make", "steps"]  # fixtures


def test_steps_are_done_in_rounds_that_passes_end():
    def kinds(*names):
        made: list[Any] = [registry.STEPS[name](NoSettings()) for name in names]
        return [(each.steps, each.passes) for each in rounds_of(made)]

    assert kinds() == [((), ()), ((), ())]
    assert kinds("shout") == [(("shout",), ()), ((), ())]
    assert kinds("twelve", "eleven", "shout") == [((), ("twelve", "eleven")), (("shout",), ())]
    assert kinds("twelve", "shout", "eleven") == [
        ((), ("twelve",)),
        (("shout",), ("eleven",)),
        ((), ()),
    ]


def test_every_document_is_read_counted_and_in_a_row(make, tmp_path, tiny_folder):
    names = write_corpus(tmp_path)
    summary, folder = make(names, steps="shout,twelve,eleven")
    said = summary["steps"]
    assert said["read"]["documents"] == summary["records"] == 60
    assert said["shout"]["removed"] == {"quiet": 9}
    assert said["shout"]["did"] == {"shouted": 51}
    # Two documents share each number, of those that aren't quiet; then ten share eleven letters.
    assert said["twelve"]["documents"] == 51
    assert said["twelve"]["removed"] == {"begins alike": 21}
    assert said["twelve"]["did"] == {"different": 30}
    assert said["eleven"]["documents"] == 30
    assert said["eleven"]["removed"] == {"begins alike": 27}
    assert said["encode"]["documents"] == summary["documents"] == summary["examples"] == 3
    sample = said["shout"]["samples"]["quiet"][0]
    assert "quiet document" in sample["text"]
    assert sample["detail"] == "says so"
    assert len(said["twelve"]["samples"]["begins alike"]) == 3
    found = rows_text(folder, tiny_folder)
    assert all(f"DOCUMENT {n:03} OF THE CORPUS" in found for n in (0, 10, 20))
    assert summary["sources"] == {"a": 2, "b": 1}
    assert summary["tokens"] == sum(summary["tokens_by_source"].values())
    assert all(finding.status == "ok" for finding in verify(folder))
    card = (folder / "README.md").read_text()
    assert "| begins alike | 21 |" in card
    assert "funnel.svg" in card
    assert not (folder / ".work").exists()
    builder: Any = tfds.builder_from_directory(str(folder))
    assert len(builder.as_data_source("train")) == summary["rows"]


def test_a_finished_corpus_is_not_made_again(make, tmp_path, capsys):
    summary, folder = make(write_corpus(tmp_path))
    (folder / run.WORK / "0").mkdir(parents=True)  # as a kill after the end leaves it
    again, _ = make(write_corpus(tmp_path), workers=2, memory_mb=100)
    assert again == json.loads(json.dumps(summary))
    assert not (folder / run.WORK).exists()
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"another config \(steps: '' -> 'shout'\)"):
        make(write_corpus(tmp_path), steps="shout")


def test_what_is_broken_is_set_aside_with_its_file_and_line(make, tmp_path, tiny_folder):
    chinese = "人人生而自由,在尊严和权利上一律平等。"
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "One."}\n{"text": oops}\n{"text": "\xff"}\n')
    (tmp_path / "b.txt").write_bytes(f"{chinese}\n{chinese[:9]}\n".encode("gb18030"))
    (tmp_path / "c.txt").write_bytes(f"{chinese[3:]}\nWide.\n".encode("utf-16"))
    (tmp_path / "d.jsonl").write_bytes(b"")
    whole = gzip.compress(b"".join(b'{"text": "Line %d."}\n' % n for n in range(5000)), mtime=0)
    (tmp_path / "e.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "f.parquet").write_bytes(b"no table")
    (tmp_path / "g.jsonl").write_text('{"nothing": "of ours"}\n' * 200)
    names = ",".join(str(path) for path in sorted(tmp_path.glob("[a-g].*")))
    summary, folder = make(names, length=128)
    lines = (folder / "quarantined.jsonl").read_text().splitlines()
    bad = [json.loads(line) for line in lines]
    assert [(each["file"][-len("a.jsonl") :], each["line"]) for each in bad[:2]] == [
        ("a.jsonl", 2),
        ("a.jsonl", 3),
    ]
    reasons = {each["file"].rpartition("/")[2]: each["reason"] for each in bad[2:]}
    assert set(reasons) == {"d.jsonl", "e.jsonl.gz", "f.parquet", "g.jsonl"}
    assert "nothing but blank lines" in reasons["d.jsonl"]
    assert "not a whole gzip file" in reasons["e.jsonl.gz"]
    assert "not a Parquet file" in reasons["f.parquet"]
    assert "no known layout" in reasons["g.jsonl"]
    assert (summary["quarantined"], summary["broken_files"]) == (2, 4)
    assert "4 files are broken or without a record: see quarantined.jsonl" in omissions(summary)
    assert summary["sources"]["e"] > 1000  # what came before the end
    assert (summary["sources"]["b"], summary["sources"]["c"]) == (2, 2)
    found = rows_text(folder, tiny_folder)
    assert all(text in found for text in (chinese, "Wide."))
    with pytest.raises(UserError, match=r"a\.jsonl:2: not JSON"):
        make(names, "strict", on_bad_record="error")


def test_a_document_stays_in_its_split_whatever_is_beside_it(make, tmp_path, tiny_folder):
    names = write_corpus(tmp_path, 200)
    summary, folder = make(names, validation=0.25)
    assert summary["documents"] + summary["validation"]["documents"] == 200
    assert 25 <= summary["validation"]["documents"] <= 75
    validation = rows_text(folder, tiny_folder, VALIDATION)
    # Without its first documents, and in other words.
    (tmp_path / "a.txt").write_text("\n".join((tmp_path / "a.txt").read_text().split("\n")[50:]))
    _, fewer = make(names, "fewer", validation=0.25, steps="shout")
    found = rows_text(fewer, tiny_folder, VALIDATION)
    marks = [f"CORPUS {n}" for n in range(50, 200) if f"CORPUS {n}" in found]
    assert marks
    assert all(mark.lower() in validation for mark in marks)
    with pytest.raises(UserError, match="has no split 'validation'; it has train"):
        open_prepared(make(names, "none")[1], VALIDATION)


def test_a_document_that_is_too_long_is_taken_out_and_counted(make, tmp_path):
    (tmp_path / "a.txt").write_text("short\n" + "long " * 100)
    summary, _ = make(tmp_path / "a.txt", longest=100)
    assert summary["steps"]["read"]["removed"] == {"longer than 100 characters": 1}
    with pytest.raises(UserError, match=r"none of the documents is left .*read removed 2$"):
        make(tmp_path / "a.txt", "none", longest=3)


def test_where_nothing_is_left_the_first_reason_is_named(make, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(UserError, match=r"quarantined\.jsonl .*: columns found: body"):
        make(tmp_path / "a.jsonl", "none")
    assert "columns found: body" in (tmp_path / "none" / "quarantined.jsonl").read_text()


def test_conversations_pass_steps_message_by_message(make, tmp_path, tiny_folder):
    turns = [{"role": "user", "content": "why not"}, {"role": "assistant", "content": "so it is"}]
    quiet = [turns[0], {"role": "assistant", "content": "quiet please"}]
    rows = [{"messages": messages} for messages in (turns, quiet, turns)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary, folder = make("", conversations=str(tmp_path / "a.jsonl"), steps="shout,twelve")
    assert (summary["kind"], summary["documents"]) == ("conversations", 1)
    assert summary["steps"]["shout"]["removed"] == {"quiet": 1}
    assert summary["steps"]["twelve"]["removed"] == {"begins alike": 1}
    found = rows_text(folder, tiny_folder)
    assert all(text in found for text in ("WHY NOT", "SO IT IS", "user"))


def test_preferences_have_a_row_each(make, tmp_path):
    row = {"messages": [{"role": "user", "content": "why"}], "chosen": "yes", "rejected": "no"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    summary, folder = make("", preferences=str(tmp_path / "a.jsonl"), steps="shout")
    assert (summary["rows"], summary["languages"]) == (1, {"en": 1})
    assert open_prepared(folder)[0]["tokens"].shape == (2, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "shuot"}, "config.steps: 'shuot' is none of .*did you mean 'shout'"),
        ({"steps": "shout,shout"}, "'shout' is named twice"),
        ({"settings": {"shout": {"loud": True}}, "steps": "shout"}, "settings.shout.loud: unknown"),
        ({"settings": {"shuot": {}}}, "settings.shuot: no such step; did you mean 'shout'"),
        ({"conversations": "a.jsonl"}, "documents and conversations have files; name those of one"),
        ({"documents": ""}, "none of them has files"),
        ({"validation": 1.0}, "config.validation must be 0 or more and below 1"),
        ({"shard_mb": 0}, "config.shard_mb must be at least 1"),
        ({"length": 1}, "length: 1 is too short"),
        ({"slurm": {"dry_run": True}}, "config.slurm.dry_run: needs config.executor 'slurm'"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(changes, message):
    values = {"documents": "a.txt", "model": "m", "length": 32, "steps": "", **changes}
    with pytest.raises(UserError, match=message):
        PrepareConfig.from_dict(values)
