"""Lineage: what a folder was made from, and whether its hashes still match."""

import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import (
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


def test_a_child_records_the_bytes_of_a_parent_that_changed_after_its_own_record(chain):
    before = content_hash(chain / "middle")
    (chain / "middle" / "a.txt").write_text("another")
    parent = Parent.of("model", chain / "middle")
    assert parent.hash != before
    (chain / "child").mkdir()
    write_lineage(chain / "child", kind="test", parents=[parent], config={})
    assert _found(chain / "child") == [
        ("ok", str(chain / "child")),
        ("changed", str(chain / "middle" / "a.txt")),
        ("ok", f"data {chain / 'raw.txt'}"),
    ]


@pytest.mark.parametrize("place", ["raw.txt", "middle/a.txt", "middle/inner/b.txt", "last/a.txt"])
def test_verify_finds_a_byte_that_changed_without_a_trace_in_time_or_size(chain, place):
    path = chain / place
    times = path.stat()
    flipped = bytearray(path.read_bytes())
    flipped[0] ^= 1
    path.write_bytes(flipped)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "changed" in {status for status, _ in _found(chain / "last")}


@pytest.mark.parametrize("folder", ["middle", "last"])
def test_verify_finds_every_changed_byte_of_a_lineage(chain, folder):
    path = chain / folder / "lineage.json"
    good = path.read_bytes()
    for index in range(len(good)):
        path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        assert ("changed", str(path)) in _found(chain / "last"), good[index - 9 : index + 9]


def test_verify_finds_a_changed_lineage_inside_a_folder(chain):
    write_lineage(chain / "last" / "inner", kind="test", parents=[], config={"x": 1})
    write_lineage(chain / "last", kind="test", parents=[], config={})
    inner = chain / "last" / "inner" / "lineage.json"
    inner.write_text(inner.read_text().replace('"x": 1', '"x": 2'))
    assert _found(chain / "last") == [("changed", str(inner))]


def test_files_added_to_a_parent_leave_what_was_made_from_it_proven(chain):
    (chain / "middle" / "notes.txt").write_text("seen")
    assert {status for status, _ in _found(chain / "last")} == {"ok"}


def test_of_a_shared_folder_only_the_named_files_count(chain):
    shared = chain / "shared"
    shared.mkdir()
    for name in ("a.txt", "b.txt"):
        (shared / name).write_text(name)
    parent = Parent.of("model", shared, files=("a.txt",))
    write_lineage(chain / "last", kind="test", parents=[parent], config={})
    (shared / "b.txt").write_text("another")
    (shared / "README.md").write_text("news")
    assert Parent.of("model", shared, files=("a.txt",)) == parent
    assert _found(chain / "last")[-1] == ("ok", f"model {shared}")
    (shared / "a.txt").write_text("b.txt")
    assert _found(chain / "last")[-1] == ("changed", f"model {shared}")
    (shared / "a.txt").unlink()
    assert _found(chain / "last")[-1] == ("changed", f"model {shared}")


def _large(path: Path, byte: bytes, age: float = 60.0) -> Path:
    path.write_bytes(byte * 2**20)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_large_file_is_read_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("VCJAX_CACHE", str(tmp_path / "cache"))
    path = _large(tmp_path / "weights", b"a")
    first = content_hash(path)
    with sqlite3.connect(tmp_path / "cache" / "hashes.sqlite") as database:
        assert database.execute("SELECT hash FROM files").fetchall() == [(first,)]
        database.execute("UPDATE files SET hash = 'remembered'")
    assert content_hash(path) == "remembered"
    assert content_hash(_large(path, b"b", age=50.0)) not in ("remembered", first)
    assert content_hash(_large(path, b"a", age=40.0)) == first


def test_a_file_that_may_still_be_changing_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("VCJAX_CACHE", str(tmp_path / "cache"))
    first = content_hash(_large(tmp_path / "weights", b"a", age=0.0))
    with sqlite3.connect(tmp_path / "cache" / "hashes.sqlite") as database:
        assert database.execute("SELECT hash FROM files").fetchall() == []
    assert content_hash(_large(tmp_path / "weights", b"b", age=0.0)) != first


def test_without_a_cache_folder_hashes_are_made_anew(tmp_path, monkeypatch, caplog):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("VCJAX_CACHE", str(tmp_path / "cache"))
    path = _large(tmp_path / "weights", b"a")
    assert content_hash(path) == content_hash(path)
    assert "hashes.sqlite" in caplog.text


def test_an_absent_parent_leaves_its_part_unproven(chain):
    shutil.rmtree(chain / "middle")
    assert list(verify(chain / "last")) == [
        Finding("ok", str(chain / "last"), "2 files"),
        Finding("absent", "model the middle", "not at its recorded path"),
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
