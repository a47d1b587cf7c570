"""The traces of records in a prepared folder."""

import re

import pytest

from vcjax.core.errors import UserError
from vcjax.data.digests import SIZE, fingerprint
from vcjax.data.overlap import DIGESTS, HeldOutRecords, read_traces
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.data.records import Document

DOCUMENTS = [Document(f"d{n}", f"Document number {n}.", "en", "made up") for n in range(3)]


@pytest.fixture
def folder(tmp_path, tokenizer):
    prepare(tmp_path / "rows", DOCUMENTS, "documents", tokenizer, 32)
    return tmp_path / "rows"


def test_a_folder_has_a_trace_of_each_record_in_their_order(folder):
    assert list(read_traces(folder)) == [
        (fingerprint(each)[:SIZE], (each.id, each.text)) for each in DOCUMENTS
    ]


@pytest.mark.parametrize("size", [2 * SIZE, 3 * SIZE - 1, 4 * SIZE])
def test_traces_of_different_lengths_are_the_users_mistake(folder, tokenizer, size):
    digests = (folder / DIGESTS).read_bytes()
    (folder / DIGESTS).write_bytes((2 * digests)[:size])
    records = HeldOutRecords(0.8, tokenizer)
    message = f"{folder}: digests.bin and samples.jsonl.zst aren't of the same records"
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        records.add_prepared(open_prepared(folder))
    assert "\n" not in str(caught.value)
    records.close()
