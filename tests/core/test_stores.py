"""Paths in a store: what is written there is complete and can be read back."""

from pathlib import Path

import pytest
from fsspec import filesystem, url_to_fs

from vcjax.core.errors import UserError
from vcjax.core.files import hash_file, read_json, read_jsonl, replaced_folder, write_json
from vcjax.core.files import write_jsonl as write_lines
from vcjax.core.hashes import cached_hashes
from vcjax.core.lineage import Parent, content_hash, list_files, verify, write_lineage
from vcjax.core.spool import spooled
from vcjax.core.stores import (
    PARTIAL,
    as_path,
    check_for_checkpoints,
    files_below,
    on_disk,
    reached,
    read_range,
    rejoined,
    relative,
    remove_tree,
    size_of,
    upload,
)


def test_files_in_a_store_are_written_and_read_as_on_a_disk(store):
    folder = as_path(store)
    write_json(folder / "a.json", {"字": 1})
    write_lines(folder / "deep" / "b.jsonl", [{"n": 1}, {"n": 2}])
    assert read_json(f"{store}/a.json") == {"字": 1}
    assert [record for _, record in read_jsonl(folder / "deep" / "b.jsonl")] == [{"n": 1}, {"n": 2}]
    assert sorted(files_below(folder)) == ["a.json", "deep/b.jsonl"]
    assert read_range(folder / "deep" / "b.jsonl", 1, 5) == b'"n": '
    assert size_of(folder / "deep" / "b.jsonl") == 18
    with pytest.raises(UserError, match=r"missing\.json: no such file"):
        read_json(folder / "missing.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r",
        b"ends\r",
        b"\r\nends\n",
        b"ends\n\r",
        b"the boundary\n--==0==\nof gcsfs",
        b"ends with it\n--==0==--",
        bytes(range(256)),
        bytes(range(255, -1, -1)) * (6 * 2**12) + b"\r",
    ],
    ids=lambda content: f"{len(content)}{content[-12:]!r}",
)
def test_a_file_is_stored_byte_for_byte_whatever_is_in_it(content, store, tmp_path):
    (tmp_path / "file").write_bytes(content)
    upload(tmp_path, as_path(store), ["file"])
    assert (as_path(store) / "file").read_bytes() == content


def test_a_folder_is_marked_until_it_is_uploaded(store, tmp_path):
    target = as_path(store) / "model"
    with replaced_folder(target) as folder:
        (folder / "half.json").write_text("{}")
        assert not target.exists()  # nothing goes there before all of it is here
    assert files_below(target) == ["half.json"]
    (target / PARTIAL).write_text("")
    (target / "stale").write_text("")
    with replaced_folder(target) as folder:
        (folder / "whole.json").write_text("{}")
    assert files_below(target) == ["whole.json"]


@pytest.mark.parametrize(
    ("path", "home", "named"),
    [
        ("gs://b/runs/base", "gs://b/runs/sft", "../base"),
        ("gs://a/base", "gs://b/sft", "gs://a/base"),
        ("/models/base", "gs://b/sft", "/models/base"),
        ("gs://b/base", "/runs/sft", "gs://b/base"),
        ("/models/base", "/models/sft", "../base"),
    ],
)
def test_a_path_is_named_so_that_both_can_move_together(path, home, named):
    assert relative(path, home) == named
    assert rejoined(named, home) == path


def test_a_changed_byte_in_a_store_is_found_through_the_chain(store, tmp_path):
    base, run = as_path(store) / "base", as_path(store) / "run"
    write_json(base / "weights.json", [1, 2])
    write_lineage(base, kind="convert", parents=[], config={})
    write_json(run / "result.json", [3])
    write_lineage(run, kind="train", parents=[Parent.of("model", base)], config={})
    assert {finding.status for finding in verify(run)} == {"ok"}
    assert list_files(run) == ["result.json"]
    write_json(base / "weights.json", [1, 3])
    found = [(finding.status, finding.subject) for finding in verify(run)]
    assert ("changed", f"{base}/weights.json") in found


def test_a_large_file_in_a_store_is_read_again_only_when_it_has_changed(store, monkeypatch):
    monkeypatch.setattr("vcjax.core.hashes.LEAST", 2)
    path = as_path(store) / "large"
    path.write_text("one")
    first = cached_hashes([path])
    monkeypatch.setattr("vcjax.core.hashes.hash_file", lambda _: pytest.fail("read again"))
    assert cached_hashes([path]) == first
    monkeypatch.setattr("vcjax.core.hashes.hash_file", hash_file)
    path.write_text("two")
    assert cached_hashes([path]) != first
    assert content_hash(path) == hash_file(path)


def test_a_spool_uploads_what_has_changed_and_takes_over_what_is_there(store, tmp_path):
    home = as_path(store) / "run"
    with spooled(home) as spool:
        assert spool.local.name == "run"
        (spool.local / "grows.jsonl").write_text("1\n")
        (spool.local / ".hidden").write_text("")
        spool.push()
        (spool.local / "grows.jsonl").write_text("1\n2\n")
        (spool.local / "lost").write_text("")
    assert files_below(home) == ["grows.jsonl"]
    assert not spool.local.exists()
    with spooled(home) as spool:
        assert (spool.local / "grows.jsonl").read_text() == "1\n"
        assert files_below(spool.local) == ["grows.jsonl"]
        spool.remove("grows.jsonl")
    assert files_below(home) == []


def test_a_spool_belongs_to_one_process_of_a_machine(store):
    home = as_path(store) / "run"
    with spooled(home), pytest.raises(UserError, match="another run is using it"), spooled(home):
        pass


def test_a_workdir_on_a_disk_is_its_own_spool(tmp_path):
    with spooled(tmp_path) as spool:
        assert (spool.home, spool.local, spool.is_remote) == (tmp_path, tmp_path, False)
        spool.push()
        spool.pull()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gs://there-is-none/run", "no such bucket"),
        ("s3://there-is-none/run", "no such bucket"),
        ("ftp://host/run", "no such kind of store"),
        ("az://container/run", "needs the package adlfs"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_in_one_line(gs, s3, path, message):
    with pytest.raises(UserError, match=message) as error:
        reached(path)
    assert "\n" not in str(error.value)


def test_a_store_that_is_asked_without_credentials_says_so(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget = type(filesystem("s3")).clear_instance_cache  # an instance has read them, or lacks them
    forget()
    try:
        with pytest.raises(UserError, match=r"the store can't be read \(Unable to locate cred"):
            reached(f"{s3}/run")
    finally:
        forget()


def test_a_folder_that_a_console_has_made_is_an_empty_one(store, tmp_path):
    system, name = url_to_fs(f"{store}/run")
    for folder in ("", "/deep"):
        system.pipe_file(f"{name}{folder}/", b"")
    home = as_path(store) / "run"
    assert files_below(home) == []
    with spooled(home) as spool:
        assert files_below(spool.local) == []
        (spool.local / "a").write_text("")
        spool.push()
    assert files_below(home) == ["a"]
    remove_tree(home)
    assert not home.exists()


@pytest.mark.parametrize("path", ["s3://bucket/run", "az://container/run"])
def test_checkpoints_are_refused_where_orbax_would_take_the_address_for_a_local_path(path):
    with pytest.raises(UserError, match="checkpoints are on a disk or in gs:// alone") as error:
        check_for_checkpoints(path)
    assert "\n" not in str(error.value)
    for good in ("gs://bucket/run", "/runs/a", "runs/a"):
        check_for_checkpoints(good)


def test_what_needs_a_disk_refuses_a_store():
    with pytest.raises(UserError, match="can't be in a store"):
        on_disk("gs://bucket/run")
    assert on_disk("runs/a") == Path("runs/a")
