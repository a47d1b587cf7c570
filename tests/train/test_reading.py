"""Raw data is read through before a run begins, as a stream; what is lost is said on the screen."""

import json
from pathlib import Path

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.data.importers import read_records
from vcjax.data.prepared import prepare
from vcjax.train.reading import read_through
from vcjax.train.sources import check_sources, prepare_sources
from vcjax.train.validation_data import check_groups

LONG = (
    "People who live on the two banks of a river have argued for a hundred years over who may fish "
    "in it, and both sides keep the old letters that they say prove them right."
)


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def document(text: str, **fields: str) -> dict:
    return {"text": text, "source": "test", **fields}


@pytest.fixture
def check(make_config, tokenizer, tmp_path):
    def run(trained, measured, **changes):
        validation = {"data": str(measured), "every": 1, **changes.pop("validation", {})}
        config = make_config(documents=str(trained), validation=validation, **changes)
        sources = check_sources(config, tokenizer, tmp_path / "run")
        read_through(sources, check_groups(config, tokenizer, tmp_path / "run"), config)

    return run


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        "  " + LONG.replace(" ", "\n"),
        LONG.replace("hundred", "thousand"),
        LONG.upper() + "!",
    ],
    ids=["same", "white space", "a word changed", "case"],
)
def test_a_document_in_training_and_in_validation_is_an_error(check, tmp_path, text):
    trained = write(tmp_path / "a.jsonl", document("Quite another text."), document(LONG, id="d2"))
    measured = write(tmp_path / "b.jsonl", document(text), document("A text of its own."))
    with pytest.raises(UserError, match=r"config\.documents: 1 of its .* \(record 'd2' is ") as e:
        check(trained, measured)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "run").exists()


def test_other_documents_are_none_and_similarity_can_be_switched_off(check, tmp_path):
    measured = write(tmp_path / "b.jsonl", document(LONG))
    near = LONG.replace("hundred", "thousand")
    trained = write(tmp_path / "a.jsonl", document(near), document("中文的另一篇文章。" * 9))
    check(trained, measured, validation={"similarity": 1.0})
    check(write(tmp_path / "a.jsonl", document("Another text. " * 20)), measured)
    with pytest.raises(UserError, match=r"config\.validation\.similarity: must be in \[0\.7, 1\]"):
        check(trained, measured, validation={"similarity": 0.5})


def test_what_the_charter_holds_out_isnt_trained_on_and_so_is_no_overlap(check, tmp_path):
    both = [document(LONG, domain="migration"), document("A text of its own.", domain="law")]
    measured = write(tmp_path / "b.jsonl", *both, document("Measured."))
    trained = write(tmp_path / "a.jsonl", both[0])
    check(trained, measured, charter="universal")


def test_prepared_datasets_are_compared_by_their_digests(check, tokenizer, tmp_path):
    raw = write(tmp_path / "a.jsonl", document(LONG), document("A text of its own."))
    records = read_records(raw, "documents").records
    prepare(tmp_path / "trained", records, "documents", tokenizer, 48)
    prepare(tmp_path / "measured", records[:1], "documents", tokenizer, 48)
    one = write(tmp_path / "one.jsonl", document(LONG))
    for trained, measured in (("trained", "measured"), ("trained", one), (one, "measured")):
        with pytest.raises(UserError, match=r"config\.documents: 1 of its records are in"):
            check(tmp_path / trained, tmp_path / measured)
    (tmp_path / "trained" / "digests.bin").unlink()  # as versions before wrote it
    check(tmp_path / "trained", tmp_path / "measured")


def test_a_bad_record_at_the_end_is_found_before_anything_is_written(check, tmp_path):
    trained = write(
        tmp_path / "a.jsonl", *[document(f"Text {n}.") for n in range(500)], {"text": 1}
    )
    measured = write(tmp_path / "b.jsonl", document(LONG))
    with pytest.raises(UserError, match=r"a\.jsonl:501: field 'text' must be a string"):
        check(trained, measured)
    assert not (tmp_path / "run").exists()


def test_the_screen_and_the_summary_say_what_is_lost(make_config, tokenizer, tmp_path, capsys):
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": LONG}]
    rows = [{"messages": turns, "id": str(n), "meta": 1} for n in range(3)]
    rows[1] = {"messages": [{**turns[0], "content": "Who?"}, {**turns[1], "content": "I."}]}
    data = write(tmp_path / "a.jsonl", *rows)
    config = make_config(
        stage="sft", documents="", conversations=str(data), length=48, charter="universal"
    )
    sources = check_sources(config, tokenizer, tmp_path)
    prepare_sources(sources, config, tokenizer, tmp_path)
    said = capsys.readouterr().err
    assert "conversations: 2 conversations in " in said
    assert "1 of 2 conversations (50%) are longer than a row of 48 tokens" in said
    assert "columns not read: meta (2 rows)" in said
    assert "1 left out as exact duplicates" in said
    assert "2 of 2 conversations have no domain: none of them can be held out" in said
    summary = read_json(tmp_path / "data" / "conversations" / "summary.json")
    assert summary["columns_not_read"] == {"meta": 2}
    assert "| meta | 2 |" in (tmp_path / "data" / "conversations" / "README.md").read_text()


def test_a_required_domain_is_required_of_prepared_data_too(make_config, tokenizer, tmp_path):
    raw = write(tmp_path / "a.jsonl", document(LONG))
    prepare(tmp_path / "out", read_records(raw, "documents").records, "documents", tokenizer, 48)
    config = make_config(documents=str(tmp_path / "out"), require_domain=True)
    with pytest.raises(UserError, match="has 1 records without a domain"):
        check_sources(config, tokenizer, tmp_path / "run")


def test_what_a_killed_preparation_left_is_removed(make_config, documents, tokenizer, tmp_path):
    left = tmp_path / "data" / ".documents.abc"
    left.mkdir(parents=True)
    config = make_config(documents=str(documents))
    prepare_sources(check_sources(config, tokenizer, tmp_path), config, tokenizer, tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["documents"]
