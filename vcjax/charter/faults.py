"""What makes a file no charter though each of its fields is valid alone: parts that don't fit."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from vcjax.charter.parts import Domain, Localised, Principle, Subdomain, Topics
from vcjax.core.errors import suggest
from vcjax.core.validation import path_of
from vcjax.text.language import Language

Place = tuple[str | int, ...]
"""Of a value in a charter's file: names of fields and numbers in lists."""


class Fault(NamedTuple):
    """What is wrong, and where."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{path_of(self.place)}: {self.message}"


class CharterFaults(ValueError):
    """All faults of a charter; its text is the first one."""

    def __init__(self, found: Sequence[Fault]) -> None:
        super().__init__(str(found[0]))
        self.faults = tuple(found)


def faults(
    languages: Sequence[Language],
    domains: Sequence[Domain],
    principles: Sequence[Principle],
    texts: Iterable[tuple[Place, Localised | Topics]],
) -> Iterator[Fault]:
    """Yields what doesn't fit together in a charter, which is refused if there is anything.

    Args:
      texts: all texts of the charter with their places.
    """
    if not domains:
        yield Fault(("domains",), "charter has no domains")
    for i, domain in enumerate(domains):
        if not domain.subdomains:
            yield Fault(("domains", i, "subdomains"), f"domain {domain.id!r} has no subdomains")
    known = [subdomain.id for domain in domains for subdomain in domain.subdomains]
    yield from _repeated(("languages",), languages)
    yield from _repeated(("domains",), (domain.id for domain in domains))
    yield from _repeated(("subdomains",), known)
    yield from _repeated(("principles",), (principle.id for principle in principles))
    for place, text in texts:
        for lang in languages:
            if not getattr(text, lang):
                what = "topics" if place[-1] == "topics" else "text"
                yield Fault(place, f"no {what} in {lang!r}, a language of the charter")
    for i, domain in enumerate(domains):
        for j, subdomain in enumerate(domain.subdomains):
            place = ("domains", i, "subdomains", j, "held_out_topics")
            yield from _topic_faults(place, subdomain, languages)
    for i, principle in enumerate(principles):
        yield from _principle_faults(("principles", i), principle, known, languages)


def _topic_faults(
    place: Place, subdomain: Subdomain, languages: Sequence[Language]
) -> Iterator[Fault]:
    for lang in languages:
        topics = getattr(subdomain.topics, lang)
        for topic in getattr(subdomain.held_out_topics, lang):
            if topic not in topics:
                yield Fault(place, f"{topic!r} is none of the topics in {lang!r}")
        # Without any topics it has a fault already.
        if topics and not subdomain.held_out and not subdomain.topics_for(lang, held_out=False):
            yield Fault(place, f"no topic in {lang!r} is left to train on; set held_out instead")


def _principle_faults(
    place: Place, principle: Principle, known: Sequence[str], languages: Sequence[Language]
) -> Iterator[Fault]:
    for name in principle.domains or ():
        if name not in known:
            hint = suggest(name, known)
            yield Fault((*place, "domains"), f"unknown subdomain {name!r}{hint}")
    yield from _repeated((*place, "checks"), (use.name for use in principle.checks))
    for j, use in enumerate(principle.checks):
        for argument, value in use.args.items():
            missing = set(languages) - set(value) if isinstance(value, dict) else set()
            if missing:
                at = (*place, "checks", j, "args", argument)
                yield Fault(at, f"no entry for {min(missing)!r}")


def _repeated(place: Place, names: Iterable[str]) -> Iterator[Fault]:
    earlier = set()
    for name in names:
        if name in earlier:
            yield Fault(place, f"{name!r} is there twice")
        earlier.add(name)
