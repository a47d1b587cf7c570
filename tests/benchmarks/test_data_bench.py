import json

import pytest

from benchmarks.data import LOAD, PREPARE, READ, WHOLE, DataBench, bench_data, write_documents
from benchmarks.results import data_table
from vcjax.data.importers import read_records


def test_documents_are_all_different_and_the_same_each_time(tmp_path):
    first, again, other = (tmp_path / f"{name}.jsonl" for name in ("first", "again", "other"))
    write_documents(first, 0.1)
    write_documents(again, 0.1)
    write_documents(other, 0.1, seed=1)
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    records = read_records(first, "documents").records
    assert len({record.text for record in records}) == len(records)
    assert 0.1e6 <= sum(len(record.text.encode()) for record in records) < 0.11e6
    assert {record.lang for record in records} == {"en", "zh"}


def test_every_step_is_measured_in_every_round(tiny_folder, tmp_path):
    section = bench_data(DataBench(str(tiny_folder), 0.05, 2, 64, rounds=2), tmp_path)
    section = json.loads(json.dumps(section))
    assert section["seconds"].keys() == {READ, PREPARE, LOAD, WHOLE}
    taken = {step: one["values"] for step, one in section["seconds"].items()}
    assert {len(values) for values in taken.values()} == {2}
    assert taken[WHOLE] == [
        pytest.approx(sum(both)) for both in zip(taken[PREPARE], taken[LOAD], strict=True)
    ]
    assert section["tokens"] > 10_000
    rate = section["tokens"] / section["seconds"][LOAD]["median"]
    assert section["tokens_per_second"][LOAD] == pytest.approx(rate)
    assert [bound["must"] for bound in section["bounds"]] == [True]
    assert all(step in data_table(section) for step in taken)
