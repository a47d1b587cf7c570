"""What flows through the steps of a corpus: a text with its origin, and why one was taken out.

A conversation or preference flows as a document too: its texts, with the record in `meta`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from vcjax.data.digests import fingerprint, fingerprint_of
from vcjax.data.held_out import asked
from vcjax.data.importers import Located
from vcjax.data.records import KINDS, Record
from vcjax.text.language import guess_language

RECORD = "record"
"""Where a document's `meta` has the conversation or preference that it was made of."""
HASH, HASH_DIGITS = "hash", 16
"""Where a document's `meta` has the hash of its text as it was read, in hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text on its way from a file to a row; a step returns a new one where it changes something.

    Attributes:
      text: what is trained on. Of a conversation or a preference all of its texts, one a line, in
        the steps that decide; one of them at a time in those that change text (`Step.changes`).
      id: unique and stable: the record's own, or the hash of its content.
      source: the collection that it belongs to.
      file: where it was read.
      line: line, row or item there, from 1.
      lang: `zh`, `en` or another ISO 639-1 code; `und` where no step has decided and its script
        doesn't show it. Traditional Chinese is `zh` with `meta["script"] == "Hant"`.
      domain: id of a subdomain of the charter; None where there is none.
      meta: what steps find out, for later steps and the summary; values are JSON.
    """

    text: str
    id: str
    source: str
    file: str
    line: int
    lang: str = "und"
    domain: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Removal:
    """A document that a step takes out.

    Attributes:
      step: name of the step.
      reason: which of its rules, in a few words that don't depend on the document (`too short`),
        as removals are counted by them.
      detail: what was found in this one: a figure, the other document's id.
      document: as it was when the step got it; samples of them are in the summary.
    """

    step: str
    reason: str
    document: Document
    detail: str = ""


# --- from records, and back ----------------------------------------------------------------------


def from_record(located: Located) -> Document:
    """The document that is made of a record."""
    record = cast(Any, located.record)
    # Of the text as it was read: whatever the steps make of it, its split stays the same.
    meta: dict[str, Any] = {HASH: fingerprint(record).hex()[:HASH_DIGITS]}
    if not hasattr(record, "text"):
        meta[RECORD] = record.to_dict()
    return Document(
        text=text_of(record),
        id=record.id,
        source=record.source if hasattr(record, "source") else _stem(located.file),
        file=located.file,
        line=located.line,
        lang=record.lang if located.stated else "und",
        domain=record.domain,
        meta=meta,
    )


@lru_cache
def _stem(file: str) -> str:
    return Path(file).name.split(".")[0]


def digest_of(document: Document) -> bytes:
    """The `fingerprint` of the record that a document is encoded as."""
    record = document.meta.get(RECORD)
    if record is None:
        return fingerprint_of([document.text])
    kind = "preferences" if "chosen" in record else "conversations"
    return fingerprint(KINDS[kind].from_dict(record))


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
