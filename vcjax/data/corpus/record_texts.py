"""The texts of a record, which steps see as a document's, and how they are put back into it."""

from collections.abc import Mapping
from typing import Any

from vcjax.data.corpus.document import Document
from vcjax.data.held_out import asked
from vcjax.data.records import KINDS, Record
from vcjax.text.language import guess_language

RECORD = "record"
"""Where a document's `meta` has the conversation or preference that it was made of."""


def text_of(record: Record) -> str:
    """All texts of a record; see `Document.text`."""
    text = getattr(record, "text", None)
    return "\n".join(parts(record.to_dict())) if text is None else text


def subject_of(document: Document) -> str:
    """The text that shows what a document is about; of a conversation, what its user says."""
    record = document.meta.get(RECORD)
    return document.text if record is None else asked(record["messages"])


def parts(record: Mapping[str, Any]) -> list[str]:
    """Each message, then the answers of a preference."""
    texts = [message["content"] for message in record["messages"]]
    return texts + [record[name] for name in ("chosen", "rejected") if name in record]


def with_parts(record: Mapping[str, Any], changed: Mapping[str, str]) -> dict[str, Any]:
    """The record with each text that is in `changed` as it says there."""
    messages = [
        {**message, "content": changed.get(message["content"], message["content"])}
        for message in record["messages"]
    ]
    answers = {
        name: changed.get(record[name], record[name])
        for name in ("chosen", "rejected")
        if name in record
    }
    return {**record, "messages": messages, **answers}


def to_record(document: Document, kind: str) -> Record:
    """The record that a document is encoded as."""
    if kind == "documents":
        values = {name: getattr(document, name) for name in KINDS[kind].field_names()}
        if document.lang == "und":  # no step has looked at it
            values["lang"] = guess_language(document.text)
        return KINDS[kind](**values)
    return KINDS[kind].from_dict(document.meta[RECORD])
