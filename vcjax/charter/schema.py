"""The schema of a charter: a written value profile that a model is aligned to.

A charter file is YAML with exactly these fields; `load.load_charter` reads it and turns every
mistake into one line. The validators here raise ValueError; only methods raise UserError.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

from vcjax.charter.checks import CHECKS, CheckResult, validate_arguments
from vcjax.charter.floor import FLOOR_LINE, FLOOR_RULES, FLOOR_VERDICT
from vcjax.core.errors import UserError, suggest
from vcjax.core.files import hash_text
from vcjax.text.language import Language

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
# Ids are used in keys ('<principle>/<check>') and in file names.
Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Score = Annotated[StrictInt, Field(ge=0, le=5)]


class _Strict(BaseModel):
    """Frozen; unknown fields are errors; a field that is left blank counts as absent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _blank_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        # On every level, under any spelling: a user who tries must not believe that it worked.
        for key in data:
            if "floor" in str(key).lower():
                raise ValueError(f"{key}: floor rules bind every charter and can't be changed")
        return {key: value for key, value in data.items() if value is not None}


class Localised(_Strict):
    """A text in each of the charter's languages."""

    en: Text | None = None
    zh: Text | None = None

    def get(self, lang: Language) -> str:
        """The text in `lang`; UserError where there is none."""
        text = {"en": self.en, "zh": self.zh}.get(lang)
        if text is None:
            raise UserError(f"no text in language {lang!r}")
        return text


class Topics(_Strict):
    """Seed topics by language: what the Attacker writes its questions about."""

    en: tuple[Text, ...] = ()
    zh: tuple[Text, ...] = ()

    def get(self, lang: Language) -> tuple[str, ...]:
        """The topics in `lang`; UserError where there are none."""
        topics = {"en": self.en, "zh": self.zh}.get(lang)
        if not topics:
            raise UserError(f"no topics in language {lang!r}")
        return topics


class Subdomain(_Strict):
    """A field of questions; a held-out one is never trained on, only evaluated.

    Of one that isn't, `held_out_topics` are those of its topics that are kept out of training.
    `terms` are words and phrases by which a text without a tag is found to be about the subdomain
    (`refugee*` is any word that begins so); no prompt has them.
    """

    id: Id
    name: Localised
    topics: Topics = Topics()
    held_out_topics: Topics = Topics()
    terms: Topics = Topics()
    held_out: StrictBool = False

    def topics_for(self, lang: Language, *, held_out: bool) -> tuple[str, ...]:
        """The topics that are for training, or those that are kept out of it; maybe none."""
        kept = self.topics.get(lang) if self.held_out else getattr(self.held_out_topics, lang)
        return tuple(topic for topic in self.topics.get(lang) if (topic in kept) == held_out)


class Domain(_Strict):
    """A broad area of subdomains."""

    id: Id
    name: Localised
    subdomains: tuple[Subdomain, ...] = ()


class CheckUse(_Strict):
    """A check from the registry with its arguments."""

    name: str
    args: dict[str, Any] = {}

    @model_validator(mode="after")
    def _arguments_fit(self) -> "CheckUse":
        validate_arguments(self.name, self.args)
        return self


class Principle(_Strict):
    """One commitment, in a short line, and the checks that decide parts of it.

    `domains` are the subdomains it applies to, None for all. The checks of a `measure_only`
    principle never select data, and no prompt states it: they show what is learnt without being
    selected or asked for.
    """

    id: Id
    text: Localised
    checks: tuple[CheckUse, ...] = ()
    domains: tuple[Id, ...] | None = None
    measure_only: StrictBool = False


class Thresholds(_Strict):
    """The lowest scores, 0 to 5, with which the Critic may accept an answer, aspect by aspect.

    `principle` applies to each of the principles. An answer that is good on the whole, by
    `accept_score`, may not fail an aspect.
    """

    principle: Score = 3
    facts: Score = 3
    helpfulness: Score = 3
    fluency: Score = 3


class Charter(_Strict):
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
        if not self.domains:
            raise ValueError("domains: charter has no domains")
        for i, domain in enumerate(self.domains):
            if not domain.subdomains:
                raise ValueError(f"domains[{i}].subdomains: domain {domain.id!r} has no subdomains")
        _unique("languages", self.languages)
        _unique("domains", (domain.id for domain in self.domains))
        _unique("subdomains", (subdomain.id for subdomain in self.subdomains()))
        _unique("principles", (principle.id for principle in self.principles))
        for where, text in self._texts():
            for lang in self.languages:
                if not getattr(text, lang):
                    what = "topics" if isinstance(text, Topics) else "text"
                    raise ValueError(f"{where}: no {what} in {lang!r}, a language of the charter")
        for i, domain in enumerate(self.domains):
            for j, subdomain in enumerate(domain.subdomains):
                self._check_topics(f"domains[{i}].subdomains[{j}].held_out_topics", subdomain)
        for i, principle in enumerate(self.principles):
            self._check_principle(f"principles[{i}]", principle)
        return self

    def _texts(self) -> Iterator[tuple[str, Localised | Topics]]:
        """Yields every localised text with its path."""
        yield from (
            ("description", self.description),
            ("persona", self.persona),
            ("rubric", self.rubric),
        )
        for i, principle in enumerate(self.principles):
            yield f"principles[{i}].text", principle.text
        for i, domain in enumerate(self.domains):
            yield f"domains[{i}].name", domain.name
            for j, subdomain in enumerate(domain.subdomains):
                where = f"domains[{i}].subdomains[{j}]"
                yield f"{where}.name", subdomain.name
                yield f"{where}.topics", subdomain.topics

    def _check_topics(self, where: str, subdomain: Subdomain) -> None:
        for lang in self.languages:
            topics = subdomain.topics.get(lang)
            for topic in getattr(subdomain.held_out_topics, lang):
                if topic not in topics:
                    raise ValueError(f"{where}: {topic!r} is none of the topics in {lang!r}")
            if not subdomain.held_out and not subdomain.topics_for(lang, held_out=False):
                raise ValueError(
                    f"{where}: no topic in {lang!r} is left to train on; set held_out instead"
                )

    def _check_principle(self, where: str, principle: Principle) -> None:
        known = [subdomain.id for subdomain in self.subdomains()]
        for name in principle.domains or ():
            if name not in known:
                hint = suggest(name, known)
                raise ValueError(f"{where}.domains: unknown subdomain {name!r}{hint}")
        _unique(f"{where}.checks", (use.name for use in principle.checks))
        for j, use in enumerate(principle.checks):
            for argument, value in use.args.items():
                missing = set(self.languages) - set(value) if isinstance(value, dict) else set()
                if missing:
                    at = f"{where}.checks[{j}].args.{argument}"
                    raise ValueError(f"{at}: no entry for {min(missing)!r}")

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


def _unique(where: str, names: Iterable[str]) -> None:
    earlier = set()
    for name in names:
        if name in earlier:
            raise ValueError(f"{where}: {name!r} is there twice")
        earlier.add(name)
