"""Steps of a corpus: what decides about one document by itself, and what needs all of them.

A class of either kind is made from its settings alone, once in each process, and has no state of
its own afterwards: the outcome is a function of the documents, however many processes there are and
wherever a killed run continued.

    class Quality:
        name = "quality"
        changes = False
        Settings = QualitySettings      # a frozen dataclass; `vcjax.core.settings.build` fills it
        def __init__(self, settings: QualitySettings): ...
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from vcjax.core.lineage import Parent
from vcjax.data.corpus.document import Document, Removal


@runtime_checkable
class Step(Protocol):
    """Looks at one document at a time.

    Attributes:
      name: in the config, the summary and the funnel.
      changes: whether `apply` may change the text. Of a conversation it is then called with each
        message; otherwise with the whole.
      Settings: a frozen dataclass whose fields have defaults; its docstring documents them.
    """

    name: ClassVar[str]
    changes: ClassVar[bool]
    Settings: ClassVar[type]

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        """Returns the document (the same one, or a changed one) or its removal.

        Args:
          counts: to be increased under what the step did or found beside removals (`e-mails
            masked`); removals are counted by the run.
        """
        ...


@runtime_checkable
class ReadsFiles(Protocol):
    """Settings of a step that name files, of which what the step does is a function too."""

    def parents(self) -> list[Parent]:
        """The files, hashed now, for the lineage."""
        ...


@dataclass(frozen=True, slots=True)
class Observed:
    """One document, as a `Pass` observed it.

    Attributes:
      number: of the document, from 0, ascending with the order of the input.
      evidence: what `observe` returned.
    """

    number: int
    evidence: bytes


@dataclass(frozen=True, slots=True)
class Decision:
    """That a document is taken out, by a `Pass`; the fields are those of a `Removal`."""

    number: int
    reason: str
    detail: str = ""


@runtime_checkable
class Pass(Protocol):
    """Decides about each document by all of them: duplicates, quotas.

    `observe` runs in many processes, a shard each; `decide` in one, after all of them. Passes that
    follow each other in the config see what those before them left.
    """

    name: ClassVar[str]
    Settings: ClassVar[type]

    def observe(self, document: Document) -> bytes:
        """What is to be known about a document in order to decide: a digest, a sketch, a score.

        It should be small, as it is stored: a sketch of 80 slots, not the text.
        """
        ...

    def decide(
        self, observed: Iterable[Observed], text_of: Callable[[int], str], counts: Counter[str]
    ) -> Iterator[Decision]:
        """Yields those that are taken out, in any order, each once.

        Memory must not grow by more than some hundred bytes a document; what needs more lies in a
        `vcjax.data.digests.TemporaryDatabase`. The outcome must not depend on anything but the
        documents and their order: of duplicates the first one stays.

        Args:
          observed: all documents that are left, by ascending number; may be iterated over again.
          text_of: reads the text of a document by its number; a disk access.
          counts: as in `Step.apply`.
        """
        ...
