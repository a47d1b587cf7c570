"""Files and folders that are whole or absent."""

import hashlib
from pathlib import Path

import pytest

from vcjax.core.errors import UserError, suggest
from vcjax.core.files import (
    hash_file,
    hash_text,
    read_json,
    read_jsonl,
    replaced,
    replaced_folder,
    write_json,
    write_jsonl,
    write_text,
)


class Interrupted(Exception):
    """Stands for whatever ends a block early."""


def test_a_file_is_replaced_when_the_block_ends_well(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with replaced(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("before", ["old", None])
def test_an_exception_leaves_the_old_file_or_none(before, tmp_path):
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_text(before)

    def fail() -> None:
        with replaced(path) as temporary:
            temporary.write_text("half of the n")
            raise Interrupted

    with pytest.raises(Interrupted):
        fail()
    left = {p.name: p.read_text() for p in tmp_path.iterdir()}
    assert left == ({} if before is None else {"file.txt": before})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("replacing", [replaced, replaced_folder])
def test_a_full_disk_is_named_by_what_was_written(replacing, tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "new"):
        Path("/dev/full").write_text("x")
    assert caught.value.filename == str(tmp_path / "new")


def test_records_that_fail_halfway_leave_the_old_file(tmp_path):
    path = tmp_path / "records.jsonl"
    write_jsonl(path, [{"id": "a"}])

    def records():
        yield {"id": "b"}
        raise Interrupted

    with pytest.raises(Interrupted):
        write_jsonl(path, records())
    assert list(read_jsonl(path)) == [(1, {"id": "a"})]


def _fill(folder, text):
    with replaced_folder(folder) as temporary:
        (temporary / "one.txt").write_text(text)
        if text == "bad":
            raise Interrupted
        (temporary / "two.txt").write_text(text)


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "made"
    _fill(folder, "first")
    (folder / "stale.txt").write_text("gone with the old folder")
    _fill(folder, "second")
    assert {p.name: p.read_text() for p in folder.iterdir()} == {
        "one.txt": "second",
        "two.txt": "second",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("existed", [True, False])
def test_an_exception_leaves_the_old_folder_or_none(existed, tmp_path):
    folder = tmp_path / "made"
    if existed:
        _fill(folder, "first")
    with pytest.raises(Interrupted):
        _fill(folder, "bad")
    assert [p.name for p in tmp_path.iterdir()] == (["made"] if existed else [])
    if existed:
        assert (folder / "one.txt").read_text() == "first"


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".made.partial").mkdir()
    (tmp_path / ".made.partial" / "rubbish.txt").write_text("from a killed run")
    _fill(tmp_path / "made", "new")
    assert sorted(p.name for p in (tmp_path / "made").iterdir()) == ["one.txt", "two.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_json_keeps_chinese_readable(tmp_path):
    write_json(tmp_path / "a.json", {"name": "价值"})
    assert "价值" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"name": "价值"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a.json: no such file"),
        (b'{\n "a": 1,\n "b" 2\n}', "a.json:3: not JSON (Expecting ':' delimiter)"),
        (b'{\n "a": 1,\n}', "a.json:2: not JSON (Illegal trailing comma before end of object)"),
        (b"[1\n,\n\n]", "a.json:2: not JSON (Illegal trailing comma before end of array)"),
        (b'{"a": "\xff"}', "a.json: not UTF-8 (invalid start byte at byte 7)"),
    ],
)
def test_json_that_cannot_be_read(content, message, tmp_path):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(tmp_path / "a.json")
    assert str(caught.value).startswith(str(tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_jsonl_numbers_its_lines_and_names_the_bad_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": 2}\n{"a": \n')
    lines = read_jsonl(path)
    assert [next(lines), next(lines)] == [(1, {"a": 1}), (3, {"a": 2})]
    with pytest.raises(UserError, match=r"a\.jsonl:4: not JSON"):
        next(lines)
    path.write_bytes(b'"\xff"\n')
    with pytest.raises(UserError, match=r"a\.jsonl:1: not UTF-8"):
        next(read_jsonl(path))
    with pytest.raises(UserError, match="no such file"):
        next(read_jsonl(tmp_path / "b.jsonl"))


def test_hashes_are_sha256_of_bytes(tmp_path):
    expected = hashlib.sha256("价值\n".encode()).hexdigest()
    write_text(tmp_path / "a.txt", "价值\n")
    assert hash_text("价值\n") == hash_file(tmp_path / "a.txt") == expected


def test_suggestions_are_close_or_absent():
    assert suggest("lerning_rate", ["steps", "learning_rate"]) == "; did you mean 'learning_rate'?"
    assert suggest("xyz", ["steps", "learning_rate"]) == ""
