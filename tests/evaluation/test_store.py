import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.core.errors import UserError
from vcjax.evaluation.store import Store

RECORDS = [{"id": str(i), "text": text} for i, text in enumerate(["one", "二\n", "", "four"])]


def test_records_are_there_when_it_is_opened_again(tmp_path):
    with Store(tmp_path / "new" / "s.jsonl") as store:
        for record in RECORDS:
            store.append(record)
    with Store(tmp_path / "new" / "s.jsonl") as store:
        assert list(store.records.values()) == RECORDS
        assert store.done == {(record["id"],) for record in RECORDS}


def test_a_record_is_on_the_disk_when_append_returns(tmp_path):
    with Store(tmp_path / "s.jsonl") as store:
        store.append({"id": "a"})
        assert (tmp_path / "s.jsonl").read_text() == '{"id": "a"}\n'


@given(data=st.data())
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_goes_on(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("store") / "s.jsonl"
    with Store(path) as store:
        for record in RECORDS:
            store.append(record)
    content = path.read_bytes()
    cut = content[: data.draw(st.integers(0, len(content)))]
    path.write_bytes(cut)
    with Store(path) as store:
        assert list(store.records.values()) == RECORDS[: cut.count(b"\n")]
        for record in RECORDS[cut.count(b"\n") :]:
            store.append(record)
    assert path.read_bytes() == content


def test_the_key_may_be_of_several_fields(tmp_path):
    with Store(tmp_path / "s.jsonl", ("id", "judge")) as store:
        store.append({"id": "a", "judge": "x"})
        store.append({"id": "a", "judge": "y"})
        assert store.done == {("a", "x"), ("a", "y")}
        with pytest.raises(ValueError, match="already there"):
            store.append({"id": "a", "judge": "x"})


@pytest.mark.parametrize("line", ['{"id": "b"', "[1]", '{"name": "b"}', '{"id": "a"}', ""])
def test_a_broken_line_that_isnt_the_last_is_named(tmp_path, line):
    (tmp_path / "s.jsonl").write_text(f'{{"id": "a"}}\n{line}\n{{"id": "c"}}\n')
    with pytest.raises(UserError, match=r"s.jsonl:2: .*remove the line"):
        Store(tmp_path / "s.jsonl")
