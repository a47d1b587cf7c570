"""Documents that the charter keeps for evaluation: by their domain, or by what they are about.

A document whose record states its domain is judged by that alone, as `vcjax.data.held_out` does
with records. One whose domain `selection` found is judged by that and by the topics that are held
out of others; one without a domain by the charter's topics.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from vcjax.charter.topics import HeldOutTopics
from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.selection import DOMAIN_BY


@dataclass(frozen=True)
class HeldOutSettings:
    """What is held out.

    Attributes:
      charter: a shipped charter's name or a file; empty is `config.charter`.
    """

    charter: str = ""


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
        about = domain if domain in self._domains else self._topics.subdomain_of(document.text)
        if about is not None:
            return Removal(self.name, "of a held-out domain by its content", document, about)
        return document
