"""What a charter keeps out of training: records by their domain, and untagged ones by content."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from vcjax.charter.topics import HeldOutTopics
from vcjax.data.records import BenchmarkItem, Document, Message, Question, Record

if TYPE_CHECKING:
    from vcjax.charter.schema import Charter  # pydantic: `--help` reads the steps of a corpus


class HeldOut:
    """Decides which records are for evaluation only; each that it leaves out is counted.

    A record with a domain is judged by that alone. One without is judged by what it asks or states
    (`vcjax.charter.topics`): of a conversation by its user's turns, as an answer may mention much
    that the conversation isn't about.

    Attributes:
      domains: ids of the subdomains that are held out as a whole.
      by_domain: how many records `without` has left out for their own domain, by domain.
      by_content: how many it has left out for what they are about, by the domain that was found.
    """

    def __init__(self, charter: "Charter") -> None:
        subdomains = charter.subdomains()
        self.domains = frozenset(each.id for each in subdomains if each.held_out)
        self.by_domain: Counter[str] = Counter()
        self.by_content: Counter[str] = Counter()
        self._charter = charter

    @cached_property
    def _topics(self) -> HeldOutTopics:
        return HeldOutTopics(self._charter)

    def is_held_out(self, record: Record) -> bool:
        """Whether a record must not be trained on."""
        return self._reason(record) is not None

    def without(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that may be trained on; the others are counted."""
        for record in records:
            if (reason := self._reason(record)) is None:
                yield record
            else:
                counts, domain = reason
                counts[domain] += 1

    def _reason(self, record: Record) -> tuple[Counter[str], str] | None:
        """The count that a held-out record belongs to, and its domain."""
        # Whoever tagged the record knows better than its words what it is about.
        if domain := getattr(record, "domain", None):
            return (self.by_domain, domain) if domain in self.domains else None
        domain = self._topics.subdomain_of(_subject(record))
        return (self.by_content, domain) if domain else None


def _subject(record: Record) -> str:
    """The text that shows what a record is about."""
    if isinstance(record, Document):
        return record.text
    if isinstance(record, Question | BenchmarkItem):
        return record.question
    return asked(getattr(record, "messages", ()))


def asked(messages: Iterable[Message]) -> str:
    """The turns of a conversation's user."""
    return "\n".join(each["content"] for each in messages if each["role"] == "user")
