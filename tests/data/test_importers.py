import csv
import gzip
import json

import pyarrow
import pytest
from pyarrow import parquet

from vcjax.core.errors import UserError
from vcjax.data.importers import read_records

DOCUMENT = {"id": "d1", "text": "A text.", "lang": "en", "source": "book"}
MESSAGES = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
TURNS = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]


def write(path, *values, lines=True):
    text = "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values)
    path.write_text(text if lines else json.dumps(list(values)), encoding="utf-8")
    return path


def one(path, kind):
    (record,) = read_records(str(path), kind).records
    return record


def test_jsonl_json_lines_arrays_and_gzip_give_the_same(tmp_path):
    jsonl = write(tmp_path / "a.jsonl", DOCUMENT)
    array = write(tmp_path / "b.json", DOCUMENT, lines=False)
    lines = write(tmp_path / "c.json", DOCUMENT)
    zipped = tmp_path / "d.jsonl.gz"
    zipped.write_bytes(gzip.compress(jsonl.read_bytes()))
    marked = tmp_path / "e.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + jsonl.read_bytes())
    paths = [jsonl, array, lines, zipped, marked]
    records = read_records(",".join(map(str, paths)), "documents").records
    assert [record.to_dict() for record in records] == [DOCUMENT] * 5
    assert read_records(paths, "documents").records == records


def test_text_is_one_document_a_line(tmp_path):
    path = tmp_path / "wiki.txt"
    path.write_text("First document.\n第二篇文章。\n\n  \n", encoding="utf-8")
    first, second = read_records(path, "documents").records
    assert (first.text, first.lang, first.source) == ("First document.", "en", "wiki")
    assert (second.text, second.lang) == ("第二篇文章。", "zh")


def test_csv_keeps_lines_inside_fields_and_names_ids_by_file(tmp_path):
    path = tmp_path / "red.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        rows = [("ID", "问题", "违规类型"), ("1", "第一\n行？", "甲"), ("2", "第二？", "")]
        csv.writer(stream).writerows(rows)
    first, second = read_records(path, "questions").records
    assert (first.id, first.question, first.domain) == ("red-1", "第一\n行？", "甲")
    assert (second.id, second.lang, second.domain) == ("red-2", "zh", None)


def test_csv_in_gb18030_is_read_where_its_columns_are_chinese(tmp_path):
    path = tmp_path / "red.csv"
    path.write_bytes("ID,问题\n1,为什么？\n".encode("gb18030"))
    assert one(path, "questions").question == "为什么？"
    path.write_bytes("id,question\n1,Un caf\xe9 noir?\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"red\.csv: not UTF-8 .*save the table as UTF-8"):
        read_records(path, "questions")


def test_parquet_keeps_nested_messages(tmp_path):
    path = tmp_path / "chats.parquet"
    parquet.write_table(pyarrow.table({"messages": [MESSAGES], "n": [1]}), path)
    assert list(one(path, "conversations").messages) == MESSAGES


@pytest.mark.parametrize(
    "row",
    [
        {"messages": MESSAGES, "prompt_id": 3},
        {"conversations": TURNS},
        {"instruction": "Why?", "input": "", "output": "Because."},
        {"id": "given", "messages": MESSAGES, "lang": "en"},
    ],
)
def test_conversation_layouts(tmp_path, row):
    record = one(write(tmp_path / "a.jsonl", row), "conversations")
    assert list(record.messages) == MESSAGES
    assert record.lang == "en"
    assert record.id == row.get("id", record.id)


def test_alpaca_input_system_and_history_become_messages(tmp_path):
    row = {
        "instruction": "Translate.",
        "input": "你好",
        "output": "Hello",
        "system": "Be brief.",
        "history": [["Hi", "Hi!"]],
    }
    record = one(write(tmp_path / "a.json", row, lines=False), "conversations")
    assert [(m["role"], m["content"]) for m in record.messages] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hi!"),
        ("user", "Translate.\n你好"),
        ("assistant", "Hello"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": MESSAGES[:1], "chosen": "A", "rejected": "B"},
        {
            "conversations": TURNS[:1],
            "chosen": {"from": "gpt", "value": "A"},
            "rejected": {"from": "gpt", "value": "B"},
        },
        {"prompt": "Why?", "chosen": "A", "rejected": "B"},
        {
            "prompt": MESSAGES[:1],
            "chosen": [{"role": "assistant", "content": "A"}],
            "rejected": [{"role": "assistant", "content": "B"}],
        },
        {
            "chosen": "\n\nHuman: Why?\n\nAssistant: A",
            "rejected": "\n\nHuman: Why?\n\nAssistant: B",
        },
        {"question": "Why?", "system": "", "chosen": "A", "rejected": "B"},
        {"instruction": "Why?", "input": "", "chosen": "A", "rejected": "B"},
        {
            "chosen": [*MESSAGES[:1], {"role": "assistant", "content": "A"}],
            "rejected": [*MESSAGES[:1], {"role": "assistant", "content": "B"}],
        },
        {
            "chosen": [*TURNS[:1], {"from": "gpt", "value": "A"}],
            "rejected": [*TURNS[:1], {"from": "gpt", "value": "B"}],
        },
    ],
)
def test_preference_layouts(tmp_path, row):
    record = one(write(tmp_path / "a.jsonl", row), "preferences")
    assert list(record.messages) == MESSAGES[:1]
    assert (record.chosen, record.rejected) == ("A", "B")


def test_a_prompt_beside_whole_conversations_is_only_their_beginning(tmp_path):
    turns = [*MESSAGES, {"role": "user", "content": "And?"}]
    answers = {
        name: [*turns, {"role": "assistant", "content": text}]
        for name, text in (("chosen", "A"), ("rejected", "B"))
    }
    record = one(write(tmp_path / "a.jsonl", {"prompt": "Why?", **answers}), "preferences")
    assert list(record.messages) == turns
    assert (record.chosen, record.rejected) == ("A", "B")


def test_a_question_with_a_system_message_keeps_it(tmp_path):
    row = {"system": "Be brief.", "question": "Why?", "chosen": "A", "rejected": "B"}
    record = one(write(tmp_path / "a.jsonl", row), "preferences")
    assert list(record.messages) == [{"role": "system", "content": "Be brief."}, MESSAGES[0]]


@pytest.mark.parametrize("column", ["question", "prompt", "问题", "text"])
def test_question_columns(tmp_path, column):
    row = {"id_": 7, column: "为什么？", "domain_en": "law"}
    record = one(write(tmp_path / "set.jsonl", row), "questions")
    expected = {"id": "set-7", "question": "为什么？", "lang": "zh", "domain": "law"}
    assert record.to_dict() == expected


def test_benchmark_items_are_read(tmp_path):
    item = {"id": "b-zh", "parallel_id": "b", "domain": "d", "lang": "zh", "question": "为什么？"}
    assert one(write(tmp_path / "b.jsonl", item), "benchmark").to_dict() == item


@pytest.mark.parametrize(
    ("lines", "kind", "message"),
    [
        (['{"text": "ok"}', "", "{oops"], "documents", r"a\.jsonl:3: not JSON \("),
        (['{"text": "ok"}', "7"], "documents", r"a\.jsonl:2: a record must be an object, not int"),
        (['{"text": ""}'], "documents", r"a\.jsonl:1: field 'text' is empty"),
        (['{"text": "ok"}', '{"txt": "x"}'], "documents", r"a\.jsonl:2: field 'text' is missing"),
        (
            ['{"text": "x", "domian": "y"}'],
            "documents",
            r"a\.jsonl:1: unknown field 'domian'; did you mean 'domain'\?",
        ),
        (
            ['{"instruction": "q", "input": "", "output": ""}'],
            "conversations",
            r"a\.jsonl:1: conversation without an assistant turn",
        ),
        (
            ['{"conversations": [{"from": "bot", "value": "x"}]}'],
            "conversations",
            r"a\.jsonl:1: unknown speaker 'bot'",
        ),
        (
            ['{"chosen": "\\n\\nHuman: a\\n\\nAssistant: b", "rejected": "c"}'],
            "preferences",
            r"a\.jsonl:1: field 'rejected' is no 'Human: ... Assistant: ...' transcript",
        ),
        (
            ['{"mesages": [], "url": "x"}'],
            "conversations",
            r"a\.jsonl:1: no known layout of conversations: columns found: mesages, url; layouts "
            r"known: messages .*ShareGPT.*alpaca.*; did you mean 'messages'\?",
        ),
        (
            [json.dumps({"chosen": MESSAGES, "rejected": MESSAGES[:1]})],
            "preferences",
            r"a\.jsonl:1: field 'rejected' must be an assistant turn",
        ),
        (
            [json.dumps({"prompt": "Why?", "chosen": "A", "rejected": "A"})],
            "preferences",
            r"a\.jsonl:1: chosen and rejected are the same",
        ),
        (["[" * 100_000], "documents", r"a\.jsonl:1: not JSON"),
    ],
)
def test_the_first_bad_record_ends_the_reading_with_file_and_line(tmp_path, lines, kind, message):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_records(path, kind)
    assert "\n" not in str(caught.value)


def test_items_of_an_array_are_named_by_number(tmp_path):
    path = write(tmp_path / "a.json", {"text": "ok"}, {"text": " "}, lines=False)
    with pytest.raises(UserError, match=r"a\.json: item 2: field 'text' is empty"):
        read_records(path, "documents")


def test_csv_rows_are_named_by_the_line_they_start_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('question,lang\n"two\nlines",en\nlone\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.csv:4: 1 fields where the header names 2"):
        read_records(path, "questions")
    path.write_text('question,lang\n"",en\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.csv:2: field 'question' is empty"):
        read_records(path, "questions")


def test_quarantine_collects_what_is_bad_and_keeps_the_rest(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "ok"}\n{oops\n\xff\xfe\n{"text": ""}\n{"text": "fine"}\n{"x": 1}\n')
    loaded = read_records(path, "documents", on_bad_record="quarantine")
    assert [record.text for record in loaded.records] == ["ok", "fine"]
    assert [entry["line"] for entry in loaded.quarantined] == [2, 3, 4, 6]
    first = loaded.quarantined[0]
    assert first["file"] == str(path)
    assert first["raw"] == "{oops"
    assert first["reason"].startswith("not JSON")


def test_quarantine_takes_strange_records_before_the_first_that_fits(tmp_path):
    path = write(tmp_path / "a.jsonl", {"x": 1}, {"text": "ok"})
    loaded = read_records(path, "documents", on_bad_record="quarantine")
    assert [entry["reason"] for entry in loaded.quarantined] == ["field 'text' is missing"]


@pytest.mark.parametrize("mode", ["error", "quarantine"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"\n \n", r"a\.jsonl: no documents"),
        ("a.json", b"[]", r"a\.json: no documents"),
        ("a.csv", b"text\n", r"a\.csv: no documents"),
        ("a.csv", b"", r"a\.csv: no documents"),
        ("a.txt", b"", r"a\.txt: no documents"),
        ("a.json", b'[{"text": "x"', r"a\.json:1: not JSON"),
        ("a.json", b'["\xff"]', r"a\.json: not UTF-8"),
        ("a.parquet", b"PAR", r"a\.parquet: not a Parquet file"),
        ("a.jsonl.gz", b"plain", r"a\.jsonl\.gz: not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}', mtime=0)[:-9], r"not a whole gzip file"),
        ("a.jsnl", b"x", r"a\.jsnl: unknown format .*did you mean '\.json"),
        ("a.jsonl", b'{"body": "x"}', r"no known layout of documents: columns found: body"),
    ],
)
def test_a_file_without_a_good_record_is_an_error(tmp_path, name, content, message, mode):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_records(tmp_path / name, "documents", on_bad_record=mode)


def test_only_bad_records_is_an_error_in_quarantine_too(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": ""}, {"text": 1})
    with pytest.raises(UserError, match=r"a\.jsonl: no good record among 2; .*field 'text' is emp"):
        read_records(path, "documents", on_bad_record="quarantine")


def test_mistakes_in_the_arguments_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.jsonl: no such file"):
        read_records(str(tmp_path / "nowhere.jsonl"), "documents")
    with pytest.raises(UserError, match="is a folder"):
        read_records(tmp_path, "documents")
    with pytest.raises(UserError, match="no data file is named"):
        read_records(" , ", "documents")
    with pytest.raises(UserError, match="did you mean 'documents'"):
        read_records("x.txt", "document")
    with pytest.raises(UserError, match="did you mean 'quarantine'"):
        read_records("x.txt", "documents", on_bad_record="quarantined")
