"""The schema of a charter: a written value profile that a model is aligned to.

A charter file is YAML with exactly these fields; `load.load_charter` reads it and turns every
mistake into one line. The validators here raise ValueError; only methods raise UserError.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, model_validator

from vcjax.charter.checks import CHECKS, CheckResult
from vcjax.charter.faults import CharterFaults, Place, faults
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
from vcjax.text.language import Language


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
        if found := list(faults(self.languages, self.domains, self.principles, self.texts())):
            raise CharterFaults(found)
        return self

    def texts(self) -> Iterator[tuple[Place, Localised | Topics]]:
        """Yields every localised text with its place."""
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
                place = ("domains", i, "subdomains", j)
                yield (*place, "name"), subdomain.name
                yield (*place, "topics"), subdomain.topics

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
