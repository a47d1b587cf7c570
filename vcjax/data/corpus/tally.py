"""What each step did: counts, and samples of what it took out; those of shards are added up."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vcjax.data.corpus.document import Document, Removal

_SHOWN = 300
"""Characters of a text in a sample."""


@dataclass
class StepTally:
    """Counts of one step.

    Attributes:
      documents, characters: that the step got.
      removed: documents, by reason.
      removed_characters: of these documents.
      did: what the step counted itself.
      samples: by reason, the removed documents with the smallest hashes of their ids, by hash: the
        same ones in whatever order the shards are added up.
    """

    documents: int = 0
    characters: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    removed_characters: int = 0
    did: Counter[str] = field(default_factory=Counter)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)

    def got(self, document: Document) -> None:
        self.documents += 1
        self.characters += len(document.text)

    def remove(self, removal: Removal, most: int) -> None:
        """Args: `most` is the number of samples of a reason."""
        document = removal.document
        self.removed[removal.reason] += 1
        self.removed_characters += len(document.text)
        sample = {
            "id": document.id,
            "source": document.source,
            "file": document.file,
            "line": document.line,
            "lang": document.lang,
            "detail": removal.detail,
            "text": document.text[:_SHOWN],
        }
        # A sample by hash: shards keep their own smallest, and the smallest of these are those of
        # the whole, in whatever order the shards are added.
        key = hashlib.sha256(f"{document.id} {document.file} {document.line}".encode()).hexdigest()
        samples = self.samples.setdefault(removal.reason, {})
        samples[key] = sample
        _keep_smallest(samples, most)

    def add(self, other: "StepTally", most: int) -> None:
        self.documents += other.documents
        self.characters += other.characters
        self.removed += other.removed
        self.removed_characters += other.removed_characters
        self.did += other.did
        for reason, samples in other.samples.items():
            mine = self.samples.setdefault(reason, {})
            mine.update(samples)
            _keep_smallest(mine, most)

    def summary(self) -> dict[str, Any]:
        """What `summary.json` has of the step."""
        return {
            "documents": self.documents,
            "characters": self.characters,
            "removed": dict(sorted(self.removed.items())),
            "removed_characters": self.removed_characters,
            "did": dict(sorted(self.did.items())),
            "samples": {
                reason: [samples[key] for key in sorted(samples)]
                for reason, samples in sorted(self.samples.items())
            },
        }


def _keep_smallest(samples: dict[str, Any], most: int) -> None:
    while len(samples) > most:
        del samples[max(samples)]


class Tally:
    """The tallies of steps by name, in the order in which they were first used."""

    def __init__(self, samples: int) -> None:
        """Args: `samples` is how many removed documents of each reason are kept."""
        self.most = samples
        self.steps: dict[str, StepTally] = {}

    def step(self, name: str) -> StepTally:
        return self.steps.setdefault(name, StepTally())

    def remove(self, removal: Removal) -> None:
        self.step(removal.step).remove(removal, self.most)

    def add(self, other: "Tally") -> None:
        for name, tally in other.steps.items():
            self.step(name).add(tally, self.most)

    def to_json(self) -> dict[str, Any]:
        return {name: vars(tally) for name, tally in self.steps.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Mapping[str, Any]], samples: int) -> "Tally":
        found = cls(samples)
        for name, fields in value.items():
            counts = {each: Counter(fields[each]) for each in ("removed", "did")}
            found.steps[name] = StepTally(**{**fields, **counts})
        return found

    @classmethod
    def total(cls, parts: Iterable[Mapping[str, Any]], samples: int) -> "Tally":
        """The sum of what `to_json` returned for each part."""
        found = cls(samples)
        for part in parts:
            found.add(cls.from_json(part, samples))
        return found
