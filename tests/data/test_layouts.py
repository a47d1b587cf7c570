"""Public layouts by their published fields, none of which is lost in conversion."""

import json

import pytest

from vcjax.core.errors import UserError
from vcjax.data.importers import Records, read_records

ASKED = {"role": "user", "content": "Why?"}
SYSTEM = {"role": "system", "content": "Be brief."}
MESSAGES = [ASKED, {"role": "assistant", "content": "Because."}]
TURNS = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]
ANSWERS = {"chosen": "A", "rejected": "B"}
HH = {name: f"\n\nHuman: Why?\n\nAssistant: {text}" for name, text in ANSWERS.items()}
PKU = {
    "prompt": "Why?",
    "response_0": "B",
    "response_1": "A",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "better_response_id": 0,
    "safer_response_id": 1,
}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL_TALK = [
    *MESSAGES,
    {"role": "user", "content": "And 1 + 1?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "2"},
    {"role": "assistant", "content": "2."},
]


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read(path, kind, **options):
    records = Records(path, kind, **options)
    return list(records), records.counts


def one(path, kind, **options):
    (record,), counts = read(path, kind, **options)
    return record, counts


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("conversations", {"messages": MESSAGES}),
        ("conversations", {"conversations": TURNS}),
        ("conversations", {"instruction": "Why?", "output": "Because."}),
        ("conversations", {"prompt": "Why?", "completion": "Because."}),
        ("conversations", {"question": "Why?", "answer": "Because."}),
        ("preferences", {"messages": [ASKED], **ANSWERS}),
        ("preferences", {"conversations": TURNS[:1], **ANSWERS}),
        ("preferences", {"prompt": "Why?", **ANSWERS}),
        ("preferences", {"prompt": [ASKED], **ANSWERS}),
        ("preferences", {"question": "Why?", **ANSWERS}),
        ("preferences", {"instruction": "Why?", **ANSWERS}),
        ("preferences", HH),
        (
            "preferences",
            {n: [ASKED, {"role": "assistant", "content": ANSWERS[n]}] for n in ANSWERS},
        ),
        ("preferences", PKU),
    ],
)
@pytest.mark.parametrize("column", ["system", "system_prompt"])
def test_a_system_column_comes_first_in_every_layout(tmp_path, kind, row, column):
    plain, _ = one(write(tmp_path / "plain.jsonl", row), kind)
    record, counts = one(write(tmp_path / "a.jsonl", row | {column: "Be brief."}), kind)
    assert list(record.messages) == [SYSTEM, *plain.messages]
    assert column not in counts.columns_not_read


def test_two_different_system_messages_are_a_bad_record(tmp_path):
    path = write(tmp_path / "a.jsonl", {"system": "Be long.", "messages": [SYSTEM, *MESSAGES]})
    with pytest.raises(UserError, match=r"a\.jsonl:1: .*two different system messages"):
        read_records(path, "conversations")
    path = write(tmp_path / "a.jsonl", {"system": "Be brief.", "messages": [SYSTEM, *MESSAGES]})
    assert list(one(path, "conversations")[0].messages) == [SYSTEM, *MESSAGES]


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"prompt": "Why?", "completion": "Because."}, "Why?"),
        ({"prompt": [ASKED], "completion": MESSAGES[1:]}, "Why?"),
        ({"instruction": "Why?", "context": "", "response": "Because.", "category": "qa"}, "Why?"),
        (
            {"instruction": "Why?", "context": "It rains.", "response": "Because."},
            "Why?\nIt rains.",
        ),
        ({"question": "Why?", "answer": "Because."}, "Why?"),
        ({"messages": {"role": ["user", "assistant"], "content": ["Why?", "Because."]}}, "Why?"),
        ({"conversations": MESSAGES}, "Why?"),
        ({"messages": TURNS}, "Why?"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
                    {"role": "assistant", "content": "Because.", "tool_calls": None, "name": None},
                ]
            },
            "Why?",
        ),
    ],
)
def test_conversations_of_published_layouts(tmp_path, row, asked):
    record, counts = one(write(tmp_path / "a.jsonl", row), "conversations")
    assert list(record.messages) == [{"role": "user", "content": asked}, MESSAGES[1]]
    assert record.domain == row.get("category")
    assert not counts.columns_not_read


def test_a_developer_message_is_a_system_message(tmp_path):
    row = {"messages": [{"role": "developer", "content": "Be brief."}, *MESSAGES]}
    record, _ = one(write(tmp_path / "a.jsonl", row), "conversations")
    assert list(record.messages) == [SYSTEM, *MESSAGES]


def test_a_part_that_is_no_text_is_a_bad_record(tmp_path):
    parts = [{"type": "image_url", "image_url": {"url": "x"}}]
    row = {"messages": [{"role": "user", "content": parts}, *MESSAGES[1:]]}
    with pytest.raises(UserError, match=r"messages\[0\]\.content\[0\] is 'image_url': only text"):
        read_records(write(tmp_path / "a.jsonl", row), "conversations")


def test_the_safer_answer_of_pku_saferlhf_is_chosen_and_the_mapping_may_say_otherwise(tmp_path):
    path = write(tmp_path / "a.jsonl", PKU)
    record, counts = one(path, "preferences")
    assert (record.chosen, record.rejected) == ("A", "B")
    assert set(counts.columns_not_read) == {
        "is_response_0_safe",
        "is_response_1_safe",
        "better_response_id",
    }
    better, _ = one(path, "preferences", columns="safer_response_id:better_response_id")
    assert (better.chosen, better.rejected) == ("B", "A")


def test_labelled_answers_are_paired_by_prompt_and_the_rest_is_counted(tmp_path):
    rows = [
        {"prompt": "Why?", "completion": "A", "label": True},
        {"prompt": [{"role": "user", "content": "How?"}], "completion": "C", "label": True},
        {"prompt": "Why?", "completion": "B", "label": False},
        {"prompt": "Why?", "completion": "D", "label": False},
        {"prompt": "How?", "completion": [{"role": "assistant", "content": "E"}], "label": False},
        {"prompt": "When?", "completion": "F", "label": True},
    ]
    path = write(tmp_path / "kto.jsonl", *rows)
    records, counts = read(path, "preferences")
    found = [(r.messages[0]["content"], r.chosen, r.rejected) for r in records]
    assert found == [("Why?", "A", "B"), ("How?", "C", "E")]
    assert counts.unpaired == 2
    talks, counts = read(path, "conversations")
    assert [talk.messages[-1]["content"] for talk in talks] == ["A", "C", "F"]
    assert counts.left_out == {"labelled as bad answers": 3}
    lone = write(tmp_path / "lone.jsonl", rows[0])
    with pytest.raises(UserError, match="no preferences: 1 labelled answers without a pair"):
        read(lone, "preferences")
    bad = write(tmp_path / "bad.jsonl", rows[0] | {"label": "good"})
    with pytest.raises(UserError, match=r"bad\.jsonl:1: field 'label' must be true or false"):
        read(bad, "preferences")


def test_tool_turns_are_left_out_with_what_rests_on_them_and_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", {"messages": TOOL_TALK}, {"messages": TOOL_TALK[2:]})
    records, counts = read(path, "conversations")
    assert [list(record.messages) for record in records] == [MESSAGES]
    assert counts.tool_turns == {"left_out": 4}
    assert counts.left_out == {"with nothing but what tools were called for": 1}


def test_tool_turns_are_trained_on_where_the_config_says_so(tmp_path):
    row = {"messages": TOOL_TALK, "tools": [{"name": "add"}]}
    record, counts = one(write(tmp_path / "a.jsonl", row), "conversations", tool_turns="train")
    assert [message["role"] for message in record.messages] == [
        *("system", "user", "assistant", "user", "assistant", "user", "assistant")
    ]
    assert '<tools>\n[{"name": "add"}]\n</tools>' in record.messages[0]["content"]
    assert record.messages[4]["content"] == (
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    )
    assert record.messages[5]["content"] == "<tool_response>\n2\n</tool_response>"
    assert counts.tool_turns == {"trained": 2}


def test_sharegpts_tool_turns_are_the_same(tmp_path):
    turns = [
        {"from": "human", "value": "1 + 1?"},
        {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "2."},
    ]
    path = write(tmp_path / "a.jsonl", {"conversations": turns, "tools": "[]"})
    record, counts = one(path, "conversations", tool_turns="train")
    assert "<tool_call>" in record.messages[-3]["content"]
    assert counts.tool_turns == {"trained": 2}
    with pytest.raises(UserError, match="tool_turns: 'drop' is none of leave_out, train"):
        Records(path, "conversations", tool_turns="drop")


def test_what_nothing_is_made_of_is_counted_by_column(tmp_path):
    rows = [
        {"messages": MESSAGES, "source": "web", "score": 0, "url": None, "prompt": "Why?"},
        {"messages": [MESSAGES[0] | {"weight": 0}, MESSAGES[1]], "score": 1, "lang": "en"},
    ]
    _, counts = read(write(tmp_path / "a.jsonl", *rows), "conversations")
    assert counts.columns_not_read == {
        "source": 1,
        "score": 2,
        "prompt": 1,
        "messages[].weight": 1,
    }


def test_columns_are_mapped_to_ours(tmp_path):
    path = write(tmp_path / "a.jsonl", {"ask": "Why?", "reply": "Because.", "topic": "law"})
    columns = "question:ask, answer:reply,domain:topic"
    record, counts = one(path, "conversations", columns=columns)
    assert (list(record.messages), record.domain) == (MESSAGES, "law")
    assert not counts.columns_not_read
    asked, counts = one(path, "questions", columns=columns)
    assert (asked.question, dict(counts.columns_not_read)) == ("Why?", {"answer": 1})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("question", "columns: 'question' must be OURS:THEIRS"),
        ("ask:question", r"'ask' is no column of a known layout; did you mean 'question:ask'\?"),
        ("questoin:ask", r"'questoin' is no column .*did you mean 'question'\?"),
        ("question:ask,question:reply", "'question' is given twice"),
        ("question:ask,answer:reply,system:sytem", r"no row of .*a\.jsonl has sytem"),
    ],
)
def test_a_wrong_mapping_is_one_line(tmp_path, columns, message):
    path = write(tmp_path / "a.jsonl", {"ask": "Why?", "reply": "Because."})
    with pytest.raises(UserError, match=message) as caught:
        read(path, "conversations", columns=columns)
    assert "\n" not in str(caught.value)


def test_a_required_domain_makes_a_record_without_one_bad(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "A", "domain": "law"}, {"text": "B"})
    assert read(path, "documents")[1].no_domain == 1
    with pytest.raises(UserError, match=r"a\.jsonl:2: field 'domain' is missing"):
        read(path, "documents", require_domain=True)
