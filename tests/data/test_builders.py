"""TFDS datasets of records: generated and opened without TensorFlow, and read as data."""

import json
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from vcjax.core.errors import UserError
from vcjax.core.lineage import content_hash
from vcjax.data.builders import Conversations, Documents, Preferences
from vcjax.data.files import data_parents, find_files
from vcjax.data.importers import read_records
from vcjax.data.records import KINDS

TURNS = [{"role": "user", "content": "为什么？"}, {"role": "assistant", "content": "Because."}]
ROWS = {
    "documents": [
        {"text": "One 中.", "source": "s", "domain": "law"},
        {"text": "Two.", "source": "s"},
    ],
    "conversations": [{"messages": TURNS, "domain": "law"}, {"messages": TURNS * 2}],
    "preferences": [{"messages": TURNS[:1], "chosen": "Yes.", "rejected": "No."}],
}
BUILDERS = {"documents": Documents, "conversations": Conversations, "preferences": Preferences}


@pytest.mark.parametrize("kind", ROWS)
def test_records_come_back_from_a_dataset_as_they_were(tmp_path, kind):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[kind]))
    builder = BUILDERS[kind](files={"test": tmp_path / "a.jsonl"}, data_dir=tmp_path / "tfds")
    builder.download_and_prepare()
    source = tfds.data_source(kind, split="test", data_dir=tmp_path / "tfds")
    assert len(source) == len(ROWS[kind])
    assert set(source[0]) == set(KINDS[kind].field_names())
    expected = {record.id: record for record in read_records(tmp_path / "a.jsonl", kind).records}
    folder = f"tfds:{tmp_path}/tfds/{kind}/1.0.0@test"
    found = read_records(folder, kind).records
    assert {record.id: record for record in found} == expected
    assert [file.stem for file in find_files(folder)] == [kind]
    (parent,) = data_parents(kind, folder)
    assert parent.hash == content_hash(tmp_path / "tfds" / kind / "1.0.0")


def test_a_corpus_of_ones_own_is_found_by_its_name_without_tensorflow(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS["documents"][0]) + "\n")
    program = (
        "import sys\n"
        "from vcjax.data.builders import Documents\n"
        "from vcjax.data.importers import read_records\n"
        "class MyCorpus(Documents):\n"
        "    FILES = {'train': sys.argv[1]}\n"
        "MyCorpus().download_and_prepare()\n"
        "print(read_records('tfds:my_corpus', 'documents').records[0].text)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.jsonl")],
        env={"TFDS_DATA_DIR": str(tmp_path), "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("One 中."), done.stderr


def test_what_is_no_such_dataset_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"tfds:nothing_of_ours: no TFDS dataset of this name"):
        find_files("tfds:nothing_of_ours")
    with pytest.raises(UserError, match="no TFDS dataset"):
        find_files(f"tfds:{tmp_path}")
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS["documents"][0]) + "\n")
    builder = Documents(files={"test": tmp_path / "a.jsonl"}, data_dir=tmp_path / "tfds")
    builder.download_and_prepare()
    with pytest.raises(UserError, match="has no split 'train'; it has test"):
        find_files(f"tfds:{builder.data_path}")
