"""The schema of a charter: a written value profile that a model is aligned to.

A charter file is YAML with exactly these fields; `load.load_charter` reads it and turns every
mistake into one line. The validators here raise ValueError; only methods raise UserError.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import Field, model_validator

from vcjax.charter.checks import CHECKS, CheckResult
from vcjax.charter.floor import FLOOR_LINE, FLOOR_RULES, FLOOR_VERDICT
from vcjax.charter.parts import (
    Domain,
    Localised,
    Principle,
    Score,
    Strict,
    Subdomain,
    Text,
    Thresholds,
    Topics,
)
from vcjax.core.errors import UserError, suggest
from vcjax.core.files import hash_text
from vcjax.core.validation import path_of
from vcjax.text.language import Language

Location = tuple[str | int, ...]
"""Of a value in a charter's file: names of fields and numbers in lists."""


class Problem(NamedTuple):
    """What is wrong, and where."""

    location: Location
    message: str

    def __str__(self) -> str:
        return f"{path_of(self.location)}: {self.message}"


class CharterProblems(ValueError):
    """All problems of a charter; its text is the first one."""

    def __init__(self, found: Sequence[Problem]) -> None:
        super().__init__(str(found[0]))
        self.problems = tuple(found)


class Charter(Strict):
    """A value profile. `unspecified` lists what its source doesn't state (documentation)."""

    name: Text
    version: Text
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en", "zh")
    description: Localised
    domains: tuple[Domain, ...] = ()
    principles: tuple[Principle, ...] = ()
    persona: Localised
    rubric: Localised
    accept_score: Score = 4
    thresholds: Thresholds = Thresholds()
    unspecified: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> "Charter":
        if found := list(
            find_problems(self.languages, self.domains, self.principles, self.texts())
        ):
            raise CharterProblems(found)
        return self

    def texts(self) -> Iterator[tuple[Location, Localised | Topics]]:
        """Yields every localised text with its location."""
        yield from (
            (("description",), self.description),
            (("persona",), self.persona),
            (("rubric",), self.rubric),
        )
        for i, principle in enumerate(self.principles):
            yield ("principles", i, "text"), principle.text
        for i, domain in enumerate(self.domains):
            yield ("domains", i, "name"), domain.name
            for j, subdomain in enumerate(domain.subdomains):
                location = ("domains", i, "subdomains", j)
                yield (*location, "name"), subdomain.name
                yield (*location, "topics"), subdomain.topics

    def subdomains(self, include_held_out: bool = True) -> tuple[Subdomain, ...]:
        """All subdomains in the file's order."""
        return tuple(
            subdomain
            for domain in self.domains
            for subdomain in domain.subdomains
            if include_held_out or not subdomain.held_out
        )

    def subdomain(self, id: str) -> Subdomain:
        """The subdomain with this id; UserError with the closest one where there is none."""
        by_id = {subdomain.id: subdomain for subdomain in self.subdomains()}
        if id not in by_id:
            raise UserError(f"charter {self.name!r} has no subdomain {id!r}{suggest(id, by_id)}")
        return by_id[id]

    def principles_of(self, subdomain: str | None) -> tuple[Principle, ...]:
        """The principles that apply in a subdomain; of None, those that aren't bound to any."""
        return tuple(
            principle
            for principle in self.principles
            if principle.domains is None or subdomain in principle.domains
        )

    def stated_principles(self, subdomain: str | None) -> tuple[Principle, ...]:
        """The principles that apply in a subdomain and that prompts state.

        Those that only measure are in no prompt of any role: a model that reads a rule follows it
        because it was asked to, and nothing could be concluded from a rule that selected nothing.
        """
        principles = self.principles_of(subdomain)
        return tuple(principle for principle in principles if not principle.measure_only)

    def run_checks(
        self, *, question: str, answer: str, lang: Language, subdomain: str | None = None
    ) -> dict[str, CheckResult]:
        """Runs the checks of every principle that applies; keys are '<principle id>/<check name>'.

        A principle that is bound to subdomains applies only where `subdomain` is one of them.

        Raises:
          UserError: `lang` or `subdomain` isn't the charter's.
        """
        if lang not in self.languages:
            raise UserError(f"charter {self.name!r} has no language {lang!r}")
        if subdomain is not None:
            self.subdomain(subdomain)
        return {
            f"{principle.id}/{use.name}": CHECKS[use.name].function(
                question, answer, lang, **use.args
            )
            for principle in self.principles_of(subdomain)
            for use in principle.checks
        }

    def selecting_failures(self, results: Mapping[str, CheckResult]) -> list[str]:
        """Keys of the failed checks that select data: those of `measure_only` principles don't."""
        # Whatever selects is learnt; a principle that is only measured shows what is learnt beside
        # that.
        measured = {principle.id for principle in self.principles if principle.measure_only}
        return [
            key
            for key, result in results.items()
            if not result.passed and key.split("/")[0] not in measured
        ]

    def system_prompt(self, lang: Language, subdomain: str | None = None) -> str:
        """The Actor's system prompt: persona, a line for each principle, a line for the floor.

        Args:
          subdomain: of the question. A principle that is bound to subdomains is left out where
            this is none of them, and where it isn't known; see `stated_principles`.
        """
        principles = self.stated_principles(subdomain)
        lines = [f"- {principle.text.get(lang)}" for principle in principles]
        return "\n".join([self.persona.get(lang), *lines, FLOOR_LINE[lang]])

    def grading_text(self, lang: Language) -> str:
        """What the Critic and the judge score by: the rubric, then the floor rules in full."""
        rules = [f"- {rule.text[lang]}" for rule in FLOOR_RULES]
        return "\n".join([self.rubric.get(lang), FLOOR_VERDICT[lang], *rules])

    @property
    def content_hash(self) -> str:
        """SHA-256, in hex, of the charter as canonical JSON (sorted keys, no spaces, UTF-8).

        `terms` aren't in it: no prompt, verdict or score depends on them.
        """
        terms = {"domains": {"__all__": {"subdomains": {"__all__": {"terms"}}}}}
        return hash_text(
            json.dumps(
                self.model_dump(mode="json", exclude=terms),
                sort_keys=True,
                ensure_ascii=False,
                separators=(",", ":"),
            )
        )


# --- parts that don't fit together, though each is valid alone -----------------------------------


def find_problems(
    languages: Sequence[Language],
    domains: Sequence[Domain],
    principles: Sequence[Principle],
    texts: Iterable[tuple[Location, Localised | Topics]],
) -> Iterator[Problem]:
    """Yields what doesn't fit together in a charter, which is refused if there is anything.

    Args:
      texts: all texts of the charter with their locations.
    """
    if not domains:
        yield Problem(("domains",), "charter has no domains")
    for i, domain in enumerate(domains):
        if not domain.subdomains:
            yield Problem(("domains", i, "subdomains"), f"domain {domain.id!r} has no subdomains")
    known = [subdomain.id for domain in domains for subdomain in domain.subdomains]
    yield from _repeated(("languages",), languages)
    yield from _repeated(("domains",), (domain.id for domain in domains))
    yield from _repeated(("subdomains",), known)
    yield from _repeated(("principles",), (principle.id for principle in principles))
    for location, text in texts:
        for lang in languages:
            if not getattr(text, lang):
                what = "topics" if location[-1] == "topics" else "text"
                yield Problem(location, f"no {what} in {lang!r}, a language of the charter")
    for i, domain in enumerate(domains):
        for j, subdomain in enumerate(domain.subdomains):
            location = ("domains", i, "subdomains", j, "held_out_topics")
            yield from _topic_problems(location, subdomain, languages)
    for i, principle in enumerate(principles):
        yield from _principle_problems(("principles", i), principle, known, languages)


def _topic_problems(
    location: Location, subdomain: Subdomain, languages: Sequence[Language]
) -> Iterator[Problem]:
    for lang in languages:
        topics = getattr(subdomain.topics, lang)
        for topic in getattr(subdomain.held_out_topics, lang):
            if topic not in topics:
                yield Problem(location, f"{topic!r} is none of the topics in {lang!r}")
        # Without any topics it has a problem already.
        if topics and not subdomain.held_out and not subdomain.topics_for(lang, held_out=False):
            yield Problem(
                location, f"no topic in {lang!r} is left to train on; set held_out instead"
            )


def _principle_problems(
    location: Location, principle: Principle, known: Sequence[str], languages: Sequence[Language]
) -> Iterator[Problem]:
    for name in principle.domains or ():
        if name not in known:
            hint = suggest(name, known)
            yield Problem((*location, "domains"), f"unknown subdomain {name!r}{hint}")
    yield from _repeated((*location, "checks"), (use.name for use in principle.checks))
    for j, use in enumerate(principle.checks):
        for argument, value in use.args.items():
            missing = set(languages) - set(value) if isinstance(value, dict) else set()
            if missing:
                at = (*location, "checks", j, "args", argument)
                yield Problem(at, f"no entry for {min(missing)!r}")


def _repeated(location: Location, names: Iterable[str]) -> Iterator[Problem]:
    earlier = set()
    for name in names:
        if name in earlier:
            yield Problem(location, f"{name!r} is there twice")
        earlier.add(name)
