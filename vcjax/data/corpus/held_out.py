"""Documents that the charter keeps for evaluation: by their domain, or by what they are about.

A document whose record states its domain is judged by that alone, as `vcjax.data.held_out` does
with records. One whose domain `selection` found is judged by that and by the topics that are held
out of others; one without a domain by the charter's topics.
What a conversation is about its user's turns show, as where a training run prepares raw files.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from vcjax.charter.topics import HeldOutTopics
from vcjax.core.lineage import Parent
from vcjax.data.corpus.document import Document, Removal, subject_of
from vcjax.data.corpus.selection import DOMAIN_BY
from vcjax.data.corpus.tally import Tally

BY_CONTENT = "held out by content: "
"""What the step's counts of removed documents begin with, before the domain."""


@dataclass(frozen=True)
class HeldOutSettings:
    """What is held out.

    Attributes:
      charter: a shipped charter's name or a file; empty is `config.charter`.
    """

    charter: str = ""

    def parents(self) -> list[Parent]:
        """The charter, whose domains and topics are held out."""
        from vcjax.charter.load import charter_parents  # pydantic: `--help` reads the steps

        return charter_parents(self.charter)


class HeldOut:
    """The step that leaves out what is for evaluation."""

    name: ClassVar[str] = "held_out"
    changes: ClassVar[bool] = False
    Settings: ClassVar[type] = HeldOutSettings

    def __init__(self, settings: HeldOutSettings) -> None:
        from vcjax.charter.load import load_charter  # pydantic: `--help` reads the steps

        charter = load_charter(settings.charter)
        self._domains = frozenset(each.id for each in charter.subdomains() if each.held_out)
        self._topics = HeldOutTopics(charter)

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        domain = document.domain
        if domain is not None and DOMAIN_BY not in document.meta:
            if domain in self._domains:
                return Removal(self.name, "held-out domain stated by the record", document, domain)
            return document
        counts["domain not stated, judged by content"] += 1
        subject = subject_of(document)
        about = domain if domain in self._domains else self._topics.subdomain_of(subject)
        if about is not None:
            counts[f"{BY_CONTENT}{about}"] += 1
            return Removal(self.name, "of a held-out domain by its content", document, about)
        return document


def held_out_by_content(tally: Tally) -> dict[str, int]:
    """How many documents were held out for what they are about, by domain."""
    did = tally.step(HeldOut.name).did if HeldOut.name in tally.steps else Counter[str]()
    found = {
        what.removeprefix(BY_CONTENT): count
        for what, count in did.items()
        if what.startswith(BY_CONTENT)
    }
    return dict(sorted(found.items()))
