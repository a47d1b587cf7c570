"""Formats, compression, folders, globs and URLs, as their own libraries write them."""

import bz2
import gzip
import json
import lzma
from itertools import count
from typing import Any, cast

import fsspec
import pyarrow
import pytest
from datasets import Dataset, DatasetDict

from tests.hub_server import Repo, client_of, hub_server
from vcjax.core.errors import UserError
from vcjax.core.files import hash_file
from vcjax.data import json_array, readers
from vcjax.data.corpus.shards import plan_units
from vcjax.data.files import data_parents, find_files, size_of
from vcjax.data.importers import Records, read_records

ROWS = [{"text": f"Text {n}.", "lang": "en", "source": "s"} for n in range(3)]


def lines(rows=ROWS):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def texts(paths, kind="documents"):
    return [record.text for record in read_records(paths, kind).records]


EXPECTED = [row["text"] for row in ROWS]


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("a.jsonl", bytes),
        ("a.ndjson", bytes),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.bz2", bz2.compress),
        ("a.jsonl.xz", lzma.compress),
        ("a.ndjson.zst", lambda b: pyarrow.compress(b, "zstd", asbytes=True)),
        # Frames one after the other, as `cat` and several writers make them.
        ("a.jsonl.zst", lambda b: b"".join(pyarrow.compress(x, "zstd", asbytes=True)
                                           for x in b.splitlines(keepends=True))),
    ],
)  # fmt: skip
def test_every_compression_gives_the_same(tmp_path, name, compress):
    path = tmp_path / name
    path.write_bytes(compress(lines()))
    assert texts(path) == EXPECTED
    if compress is not bytes:
        path.write_bytes(compress(lines())[:-4])
        with pytest.raises(UserError, match=rf"{name}: not a whole \w+ file"):
            texts(path)


def test_tsv_is_split_at_tabs(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('text\tlang\n"A, b."\ten\n')
    assert texts(path) == ["A, b."]


def test_arrow_files_of_datasets_are_read(tmp_path):
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"), num_shards=2)
    assert texts(tmp_path / "saved") == EXPECTED
    shards = sorted((tmp_path / "saved").glob("*.arrow"))
    assert texts(shards) == EXPECTED
    with pyarrow.ipc.open_stream(shards[0]) as stream:
        table = stream.read_all()
    with pyarrow.ipc.new_file(tmp_path / "file.arrow", table.schema) as writer:
        writer.write_table(table)
    assert texts(tmp_path / "file.arrow") == texts(shards[0])
    shards[0].write_bytes(shards[0].read_bytes()[:-100])
    with pytest.raises(UserError, match=r"\.arrow: not a whole Arrow file"):
        texts(shards[0])


def test_a_folder_of_several_splits_is_refused(tmp_path):
    split = Dataset.from_list(ROWS)
    DatasetDict({"train": split, "test": split}).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(UserError, match="both: has several splits; name the folder of one"):
        texts(tmp_path / "both")
    assert texts(tmp_path / "both" / "train") == EXPECTED


def test_folders_and_globs_are_read_in_the_order_of_their_names(tmp_path):
    for n, row in enumerate(ROWS):
        folder = tmp_path / "data" / f"part{n}"
        folder.mkdir(parents=True)
        (folder / "x.jsonl").write_bytes(lines([row]))
    (tmp_path / "data" / "README.md").write_text("about")
    (tmp_path / "data" / ".hidden.jsonl").write_bytes(b"{oops")
    assert texts(tmp_path / "data") == EXPECTED
    assert texts(f"{tmp_path}/data/part[01]/*.jsonl") == EXPECTED[:2]
    assert texts(f"{tmp_path}/data/**/x.jsonl,{tmp_path}/data/part0") == [*EXPECTED, EXPECTED[0]]
    with pytest.raises(UserError, match=r"\*\.csv: no file matches"):
        texts(f"{tmp_path}/data/*.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: is a folder without a data file"):
        texts(tmp_path / "empty")
    (tmp_path / "data" / "lineage.json").write_text("{}")
    with pytest.raises(UserError, match="is the folder of a run; name the data files in it"):
        texts(tmp_path / "data")


def test_urls_are_opened_through_fsspec(tmp_path):
    store = fsspec.filesystem("memory")
    for n, row in enumerate(ROWS):
        store.pipe(f"/bucket/{n}.jsonl", lines([row]))
    store.pipe("/bucket/whole.json", json.dumps(ROWS).encode())
    assert texts("memory://bucket/whole.json") == EXPECTED
    assert texts("memory://bucket/?.jsonl") == EXPECTED
    assert [file.name for file in find_files("memory://bucket")][:1] == ["memory:///bucket/0.jsonl"]
    (tmp_path / "whole.json").write_text(json.dumps(ROWS))
    (parent,) = data_parents("documents", "memory://bucket/whole.json")
    assert (parent.hash, parent.path) == (hash_file(tmp_path / "whole.json"), None)
    with pytest.raises(UserError, match=r"memory://bucket/none\.jsonl: no such file"):
        texts("memory://bucket/none.jsonl")
    with pytest.raises(UserError, match=r"nope://x/a\.jsonl: this store can't be opened"):
        texts("nope://x/a.jsonl")


def test_a_dataset_of_the_hub_is_read_by_its_name(tmp_path):
    with hub_server() as hub, client_of(hub, tmp_path / "cache"):
        repo = hub.repos["org/texts"] = Repo()
        repo.commit({"train.jsonl": lines(), "README.md": b"# A card, which is no data"})
        assert texts("hf://datasets/org/texts") == EXPECTED
        assert texts("hf://datasets/org/texts/*.jsonl") == EXPECTED
        assert size_of("hf://datasets/org/texts/train.jsonl") == len(lines())
    with pytest.raises(UserError, match=r"org/texts: no such file; .* is hf://datasets/org/texts"):
        texts("org/texts")


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 16])
def test_an_array_is_read_value_by_value_wherever_the_blocks_end(tmp_path, monkeypatch, block):
    monkeypatch.setattr(json_array, "BLOCK", block)
    rows = [{"text": 'A "quote", 中文 and \\ ] }', "n": 12.5}, *ROWS]
    path = tmp_path / "a.json"
    path.write_text("\ufeff" + json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    (file,) = find_files(path)
    assert [item.value for item in readers.read_items(file)] == rows
    path.write_text("[1, 23 , -4.5e1]")
    assert [item.value for item in readers.read_items(file)] == [1, 23, -45.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"text": "x"},\n\n {"text": }]', r"a\.json:3: not JSON"),
        ('[{"text": "x"}\n', r"a\.json:2: not JSON \(Expecting ',' or '\]'"),
        ('[{"text": "x"}\n]\n{}', r"a\.json:3: not JSON \(Extra data"),
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 16])
def test_a_broken_array_names_its_line(tmp_path, monkeypatch, text, message, block):
    monkeypatch.setattr(json_array, "BLOCK", block)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.json")


def test_records_are_read_one_at_a_time_and_anew(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines())
    made = count()
    records = Records(path, "documents")
    first = next(iter(records))
    assert (first.text, records.counts.records, next(made)) == ("Text 0.", 1, 0)
    assert [record.text for record in records] == EXPECTED == [r.text for r in records]


POEM = "The oven\n  is old.\n\nThe bread\r\nis new.\n"


@pytest.mark.parametrize(
    ("sample_by", "expected"),
    [
        ("auto", [(1, "The oven\n  is old.\n\nThe bread\nis new.")]),
        ("document", [(1, "The oven\n  is old.\n\nThe bread\nis new.")]),
        ("paragraph", [(1, "The oven\n  is old."), (4, "The bread\nis new.")]),
        ("line", [(1, "The oven"), (2, "is old."), (4, "The bread"), (5, "is new.")]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_file_is_lines_paragraphs_or_one_document(tmp_path, sample_by, expected, encoding):
    path = tmp_path / "poem.txt"
    path.write_bytes(POEM.encode(encoding))
    records = Records(path, "documents", sample_by=sample_by)
    assert [(each.line, cast(Any, each.record).text) for each in records.located()] == expected
    assert records.counts.whole_files == (len(expected) == 1)
    # Of other kinds a line is a record, whatever is between them.
    questions = Records(path, "questions", sample_by=sample_by)
    assert len(list(questions)) == 4


def test_lines_with_a_stray_blank_one_between_them_are_documents(tmp_path):
    path = tmp_path / "dump.txt"
    lines = [f"Article {n} of the dump." for n in range(40)]
    path.write_text("\n".join([*lines[:20], "", *lines[20:]]) + "\n\n")
    assert len(list(Records(path, "documents"))) == 40


def test_a_broken_line_of_a_document_is_set_aside_and_the_rest_is_read(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_bytes(b"Dear town,\n\n\xff\xfe\xfa\nyours.\n\nBye.")
    bad: list[dict] = []
    records = Records(path, "documents", on_bad_record="quarantine")
    records.set_aside = bad.append
    assert [cast(Any, record).text for record in records] == ["Dear town,\n\nyours.\n\nBye."]
    assert [each["line"] for each in bad] == [3]


def test_a_text_that_is_too_long_for_one_document_names_the_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LINE", 40)
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(f"Chapter {n}, which is short." for n in range(9)))
    with pytest.raises(UserError, match=r"a document of 2\d\d bytes; .* \(see sample_by\)"):
        list(Records(path, "documents"))
    assert len(list(Records(path, "documents", sample_by="paragraph"))) == 9


def test_a_running_text_is_not_cut_into_parts(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(f"Paragraph {n}." for n in range(50)))
    assert [len(unit) for unit in plan_units(find_files(path), 100, "documents", "auto")] == [1]
    assert len(plan_units(find_files(path), 100, "documents", "line")) > 5
