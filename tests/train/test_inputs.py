"""Raw data is read as a stream before a run starts; what is lost is reported on the screen."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.data.importers import read_records
from vcjax.data.preparation import prepare
from vcjax.train.data import check_sources, prepare_sources
from vcjax.train.inputs import check_inputs, read_through
from vcjax.train.validation_data import check_validation_data

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
        config = make_config(**{"documents": str(trained), "validation": validation, **changes})
        sources = check_sources(config, tokenizer, tmp_path / "run")
        groups = check_validation_data(config, tokenizer, tmp_path / "run")
        read_through(sources, groups, config, tokenizer)

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


def write_prepared(folder: Path, raw: Path, tokenizer, kind="documents", length=48) -> Path:
    prepare(folder, read_records(raw, kind).records, kind, tokenizer, length)
    return folder


def of_an_earlier_version(folder: Path) -> Path:
    """Without what only this version keeps of the records."""
    for name in ("digests.bin", "samples.jsonl.zst"):
        (folder / name).unlink()
    return folder


PLACES = [("raw", "prepared"), ("prepared", "raw"), ("prepared", "prepared")]


@pytest.mark.parametrize("near", [False, True], ids=["same", "a word changed"])
@pytest.mark.parametrize(("trained", "measured"), PLACES)
def test_prepared_folders_are_compared_as_raw_files_are(
    check, tokenizer, tmp_path, trained, measured, near
):
    """Longer than a row, so that it's in pieces there."""
    other = LONG.replace("hundred", "thousand") if near else LONG
    paths = {
        "trained": write(tmp_path / "a.jsonl", document("Another."), document(LONG, id="d2")),
        "measured": write(tmp_path / "b.jsonl", document(other, id="m1"), document("Its own.")),
    }
    for name, form in (("trained", trained), ("measured", measured)):
        if form == "prepared":
            paths[name] = write_prepared(tmp_path / name, paths[name], tokenizer)
    what = "record 'd2' is nearly 'm1'" if near else "record 'd2' is one of them"
    with pytest.raises(UserError, match=rf"config\.documents: 1 of its .* \({what}\)"):
        check(paths["trained"], paths["measured"])
    check(write(tmp_path / "c.jsonl", document("Another text. " * 20)), paths["measured"])
    if near:
        check(*paths.values(), validation={"similarity": 1.0})


@pytest.mark.parametrize(("trained", "measured"), PLACES)
def test_folders_of_earlier_versions_are_compared_by_their_rows(
    check, tokenizer, tmp_path, capsys, trained, measured
):
    near = LONG.replace("hundred", "thousand")
    paths = [
        write(tmp_path / "a.jsonl", document("Another."), document(LONG)),
        write(tmp_path / "b.jsonl", document(near), document("Its own.")),
    ]
    for n, form in enumerate((trained, measured)):
        if form == "prepared":
            folder = write_prepared(tmp_path / f"old{n}", paths[n], tokenizer, length=256)
            paths[n] = of_an_earlier_version(folder)
    with pytest.raises(UserError, match=r"config\.documents: 1 of its .* is nearly "):
        check(*paths, length=256)
    assert "earlier version" not in capsys.readouterr().err
    check(write(tmp_path / "c.jsonl", document("Another text. " * 9)), paths[1], length=256)


def test_what_cant_be_compared_in_a_folder_of_an_earlier_version_is_said(
    check, tokenizer, tmp_path, capsys
):
    raw = write(tmp_path / "a.jsonl", document(LONG), document("A text of its own."))
    old = of_an_earlier_version(write_prepared(tmp_path / "old", raw, tokenizer))
    measured = write(tmp_path / "b.jsonl", document("Measured."))
    check(old, measured)
    said = capsys.readouterr().err
    assert said.startswith(f"config.documents: {old} was prepared by an earlier version: ")
    assert "1 documents longer than a row are compared in parts" in said
    check(old, measured, validation={"similarity": 1.0})
    assert "its records aren't compared between" in capsys.readouterr().err


def test_a_shared_system_message_makes_no_two_conversations_alike(check, tokenizer, tmp_path):
    """Rendered by the chat template, they begin with the same 500 characters."""
    system = {"role": "system", "content": LONG * 3}

    def talk(question: str, answer: str) -> dict:
        turns = [("user", question), ("assistant", answer)]
        return {"messages": [system, *({"role": r, "content": c} for r, c in turns)]}

    first = talk("Who may fish in the river?", "Both sides may, and both must ask the other one.")
    near = talk("Who may fish in the river?", "Both sides may, and both must ask the other one!!")
    other = talk("What is kept in old letters?", "What people promised, and what came of it.")
    folders = {}
    for name, rows in (("trained", [first]), ("near", [near]), ("other", [other])):
        raw = write(tmp_path / f"{name}.jsonl", *rows)
        folder = write_prepared(tmp_path / name, raw, tokenizer, "conversations", 1024)
        folders[name] = of_an_earlier_version(folder)
    data = {"stage": "sft", "documents": "", "length": 1024, "charter": "universal"}
    data["conversations"] = str(folders["trained"])
    check("", folders["other"], **data)
    check("", tmp_path / "other.jsonl", **data)
    for measured in (folders["near"], tmp_path / "near.jsonl"):
        with pytest.raises(UserError, match=r"config\.conversations: 1 of its records"):
            check("", measured, **data)


def test_what_a_run_began_with_isnt_compared_again(make_config, full, tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr("vcjax.train.inputs.read_through", lambda *_: compared.append(1))
    check_inputs(make_config(steps=6), full)
    assert not compared
    check_inputs(make_config(steps=6), tmp_path)
    assert compared


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
    assert "1 left out as duplicates" in said
    assert "2 of 2 conversations have no domain: the charter's held-out topics" in said
    summary = read_json(tmp_path / "data" / "conversations" / "summary.json")
    assert summary["columns_not_read"] == {"meta": 2}
    # Replayed in the stage after it, they are reported again, but not that they are cut.
    again = replace(config, replay=config.conversations)
    sources = check_sources(again, tokenizer, tmp_path)
    prepare_sources(sources, again, tokenizer, tmp_path)
    said = capsys.readouterr().err
    assert "replay: 2 conversations in " in said
    assert said.count("are longer than a row of 48 tokens") == 1
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
