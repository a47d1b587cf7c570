"""What flows through the steps of a corpus: a text with its origin, and why one was taken out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
