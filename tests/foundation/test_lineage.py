"""What a folder was made from, and whether it still is."""

import shutil

import pytest

from vcjax.foundation.errors import UserError
from vcjax.foundation.files import read_json, write_json
from vcjax.foundation.lineage import (
    Finding,
    Parent,
    content_hash,
    read_lineage,
    verify,
    write_lineage,
)


@pytest.fixture
def chain(tmp_path):
    """A file -> a folder made from it -> a folder made from that one."""
    root = tmp_path / "runs"
    root.mkdir()
    (root / "raw.txt").write_text("raw")
    parent = Parent.of("data", root / "raw.txt")
    for name in ("middle", "last"):
        (root / name / "inner").mkdir(parents=True)
        (root / name / "a.txt").write_text(f"{name} a")
        (root / name / "inner" / "b.txt").write_text(f"{name} b")
        write_lineage(root / name, kind="test", parents=[parent], config={"x": 1}, seed=3)
        parent = Parent.of("model", root / name, "the middle")
    return root


def _found(folder) -> list[tuple[str, str]]:
    return [(finding.status, finding.subject) for finding in verify(folder)]


def test_a_whole_chain_is_proven(chain):
    assert _found(chain / "last") == [
        ("ok", str(chain / "last")),
        ("ok", str(chain / "middle")),
        ("ok", f"data {chain / 'raw.txt'}"),
    ]


def test_the_record_says_how_the_folder_was_made(chain):
    record = read_lineage(chain / "last")
    assert (record["kind"], record["seed"], record["config"]) == ("test", 3, {"x": 1})
    assert list(record["files"]) == ["a.txt", "inner/b.txt"]
    assert record["hash"] == content_hash(chain / "last")
    assert record["code"]["version"]
    (parent,) = record["parents"]
    assert (parent["role"], parent["reference"]) == ("model", "the middle")
    assert parent["hash"] == content_hash(chain / "middle")
    assert parent["path"] == "../middle"


def test_a_moved_tree_is_still_proven(chain):
    moved = chain.rename(chain.with_name("elsewhere"))
    assert {status for status, _ in _found(moved / "last")} == {"ok"}


def test_one_changed_byte_is_found(chain):
    (chain / "last" / "inner" / "b.txt").write_text("last B")
    assert _found(chain / "last")[0] == ("changed", str(chain / "last" / "inner" / "b.txt"))


def test_a_missing_file_is_found(chain):
    (chain / "last" / "a.txt").unlink()
    assert _found(chain / "last")[0] == ("missing", str(chain / "last" / "a.txt"))


def test_a_changed_file_of_a_parent_is_found_from_the_child(chain):
    (chain / "middle" / "a.txt").write_text("another")
    assert ("changed", str(chain / "middle" / "a.txt")) in _found(chain / "last")


def test_a_parent_made_anew_is_another_parent(chain):
    (chain / "middle" / "a.txt").write_text("another")
    write_lineage(chain / "middle", kind="test", parents=[], config={}, seed=3)
    assert ("changed", "model the middle") in _found(chain / "last")


def test_a_changed_parent_that_is_a_file_is_found(chain):
    (chain / "raw.txt").write_text("cooked")
    assert _found(chain / "last")[-1] == ("changed", f"data {chain / 'raw.txt'}")


def test_an_absent_parent_leaves_its_part_unproven(chain):
    shutil.rmtree(chain / "middle")
    assert list(verify(chain / "last")) == [
        Finding("ok", str(chain / "last"), "2 files"),
        Finding("absent", "model the middle", "not at its recorded place"),
    ]


def test_a_forged_list_of_files_does_not_match_its_hash(chain):
    path = chain / "last" / "lineage.json"
    record = read_json(path)
    del record["files"]["a.txt"]
    write_json(path, record)
    assert _found(chain / "last")[0] == ("changed", str(path))


def test_hidden_files_and_event_files_prove_nothing(chain):
    before = content_hash(chain / "middle")
    (chain / "middle" / "lineage.json").unlink()
    (chain / "middle" / ".lock").write_text("1")
    (chain / "middle" / "events.out.tfevents.1").write_text("1")
    assert content_hash(chain / "middle") == before
    (chain / "middle" / "c.txt").write_text("1")
    assert content_hash(chain / "middle") != before


def test_folders_without_lineage_and_paths_to_nothing(tmp_path):
    with pytest.raises(UserError, match=r"no lineage\.json: not a folder that a vcjax script"):
        list(verify(tmp_path))
    with pytest.raises(UserError, match="no such file or folder"):
        content_hash(tmp_path / "nothing")
