"""Files as units of work: large ones are cut at their lines, small ones share a unit."""

import json

import pytest

from vcjax.data.corpus import shards
from vcjax.data.files import find_files
from vcjax.data.readers import read_items


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
def test_a_file_is_cut_at_its_lines_and_each_line_keeps_its_number(tmp_path, size):
    lines = [f"line {n} " + "x" * (n % 5) for n in range(20)]
    path = tmp_path / "a.txt"
    for text in ("\n".join(lines), "\n".join(lines) + "\n"):
        path.write_text(text)
        units = shards.plan_units(find_files(path), size, "documents")
        assert len(units) > 1 or size == 1000
        found = [item for (file,) in units for item in shards_items(file)]
        assert found == [(n, line.strip()) for n, line in enumerate(lines, start=1)]


def shards_items(file):
    return [(item.number, item.value["text"]) for item in read_items(file)]


def test_small_files_share_a_unit_and_whole_forms_are_not_cut(tmp_path):
    for n in range(5):
        (tmp_path / f"{n}.txt").write_text("four")
    (tmp_path / "5.json").write_text(json.dumps([{"text": "x" * 50}]))
    (tmp_path / "6.txt").write_bytes("wide\n".encode("utf-16") * 5)
    units = shards.plan_units(find_files(tmp_path), 8, "documents")
    assert [len(unit) for unit in units] == [2, 2, 1, 1, 1]
