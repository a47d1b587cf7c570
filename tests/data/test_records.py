import subprocess
import sys

import pytest

from vcjax.data.records import (
    KINDS,
    BadRecord,
    BenchmarkItem,
    Conversation,
    Document,
    Preference,
    Question,
)

ASKED = {"role": "user", "content": "Why?"}
SAID = {"role": "assistant", "content": "Because."}
ITEM = {"parallel_id": "b", "domain": "gender", "lang": "en", "question": "Really?"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("documents", {"id": "d", "text": "A text.", "lang": "en", "source": "book"}),
        (
            "conversations",
            {"id": "c", "messages": [ASKED, SAID], "lang": "en", "domain": "gender"},
        ),
        ("preferences", {"id": "p", "messages": [ASKED], "chosen": "A", "rejected": "B"}),
        ("questions", {"id": "q", "question": "Why?", "lang": "en"}),
        (
            "benchmark",
            {
                "id": "b-en",
                "parallel_id": "b",
                "domain": "gender",
                "lang": "en",
                "question": "Why?",
                "rubric": "Fair.",
            },
        ),
        (
            "benchmark",
            {
                "id": "b-en",
                "parallel_id": "b",
                "domain": "gender",
                "lang": "en",
                "question": "Really?",
                "conversation": [ASKED, SAID],
            },
        ),
    ],
)
def test_a_record_round_trips_without_absent_fields(kind, value):
    record = KINDS[kind].from_dict(value)
    assert record.to_dict() == value
    assert KINDS[kind].from_dict(record.to_dict()) == record


@pytest.mark.parametrize(
    ("record", "value", "reason"),
    [
        (Document, [], "a record must be an object, not list"),
        (Document, {"text": "x", "source": "s", "domian": "y"}, "did you mean 'domain'"),
        (Document, {"text": "  ", "source": "s"}, "field 'text' is empty"),
        (Document, {"text": 3, "source": "s"}, "field 'text' must be a string, not int"),
        (Document, {"text": "x"}, "field 'source' is missing"),
        (Document, {"text": None, "source": "s"}, "field 'text' is empty"),
        (Document, {"text": "\ud800", "source": "s"}, "half of a surrogate pair"),
        (Question, {"question": "q", "lang": ""}, "field 'lang' is empty"),
        (Conversation, {"messages": "hi"}, "field 'messages' must be a list, not str"),
        (Conversation, {"messages": []}, "field 'messages' is empty"),
        (Conversation, {"messages": [ASKED]}, "conversation without an assistant turn"),
        (
            Conversation,
            {"messages": [ASKED, {"role": "assistant", "content": " "}]},
            "conversation without an assistant turn",
        ),
        (
            Conversation,
            {"messages": [ASKED, {"role": "assistant", "content": ""}, ASKED, SAID]},
            "messages[1] is an assistant turn without text",
        ),
        (Conversation, {"messages": ["hi"]}, "messages[0] must be an object, not str"),
        (Conversation, {"messages": [{"role": "user"}]}, "messages[0] has no field 'content'"),
        (
            Conversation,
            {"messages": [{"role": "asistant", "content": "x"}]},
            "did you mean 'assistant'",
        ),
        (
            Conversation,
            {"messages": [{"role": "user", "contents": "x"}]},
            "did you mean 'content'",
        ),
        (
            Conversation,
            {"messages": [{"role": "user", "content": None}]},
            "field 'messages[0].content' must be a string, not null",
        ),
        (
            BenchmarkItem,
            ITEM | {"conversation": [ASKED]},
            "the conversation before a question must end with an assistant turn",
        ),
        (
            BenchmarkItem,
            ITEM | {"conversation": [{"role": "system", "content": "Be kind."}, SAID]},
            "conversation[0] must be of 'user', not 'system'",
        ),
        (
            BenchmarkItem,
            ITEM | {"conversation": [ASKED, {"role": "assistant", "content": ""}]},
            "conversation[1] is an assistant turn without text",
        ),
        (BenchmarkItem, ITEM | {"conversation": []}, "field 'conversation' is empty"),
        (
            Preference,
            {"messages": [ASKED, SAID], "chosen": "A", "rejected": "B"},
            "must not end with an assistant turn",
        ),
        (
            Preference,
            {"messages": [ASKED], "chosen": "A", "rejected": "A"},
            "chosen and rejected are the same",
        ),
        (BenchmarkItem, {"question": "q"}, "field 'parallel_id' is missing"),
    ],
)
def test_a_bad_record_says_why(record, value, reason):
    with pytest.raises(BadRecord) as caught:
        record.from_dict(value)
    assert reason in caught.value.reason


def test_an_absent_id_derives_from_the_content_alone():
    one = Document.from_dict({"text": "A text.", "source": "a", "domain": "gender"})
    two = Document.from_dict({"text": "A text.", "source": "b"})
    three = Document.from_dict({"text": "Another text.", "source": "a"})
    assert one.id == two.id != three.id
    assert len(one.id) == 16


def test_a_conversation_is_in_the_language_of_its_messages():
    messages = [{"role": "user", "content": "为什么？"}, {"role": "assistant", "content": "因为。"}]
    assert Conversation.from_dict({"messages": messages}).lang == "zh"


def test_importing_records_loads_no_heavy_library():
    code = (
        "import sys, vcjax.data.records, vcjax.data.importers, vcjax.data.packing\n"
        "heavy = {'grain', 'tensorflow_datasets', 'transformers', 'jax', 'pyarrow', 'tensorflow'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
