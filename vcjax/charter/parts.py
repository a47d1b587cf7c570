"""The parts of a charter: texts by language, domains, principles and the checks they name."""

from collections.abc import Mapping
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

from vcjax.charter.checks import validate_arguments
from vcjax.core.errors import UserError
from vcjax.text.language import Language

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
# Ids are used in keys ('<principle>/<check>') and in file names.
Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Score = Annotated[StrictInt, Field(ge=0, le=5)]


class Strict(BaseModel):
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


class Localised(Strict):
    """A text in each of the charter's languages."""

    en: Text | None = None
    zh: Text | None = None

    def get(self, lang: Language) -> str:
        """The text in `lang`; UserError where there is none."""
        text = {"en": self.en, "zh": self.zh}.get(lang)
        if text is None:
            raise UserError(f"no text in language {lang!r}")
        return text


class Topics(Strict):
    """Seed topics by language: what the Attacker writes its questions about."""

    en: tuple[Text, ...] = ()
    zh: tuple[Text, ...] = ()

    def get(self, lang: Language) -> tuple[str, ...]:
        """The topics in `lang`; UserError where there are none."""
        topics = {"en": self.en, "zh": self.zh}.get(lang)
        if not topics:
            raise UserError(f"no topics in language {lang!r}")
        return topics


class Subdomain(Strict):
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


class Domain(Strict):
    """A broad area of subdomains."""

    id: Id
    name: Localised
    subdomains: tuple[Subdomain, ...] = ()


class CheckUse(Strict):
    """A check from the registry with its arguments."""

    name: str
    args: dict[str, Any] = {}

    @model_validator(mode="after")
    def _arguments_fit(self) -> "CheckUse":
        validate_arguments(self.name, self.args)
        return self


class Principle(Strict):
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


class Thresholds(Strict):
    """The lowest scores, 0 to 5, with which the Critic may accept an answer, aspect by aspect.

    `principle` applies to each of the principles. An answer that is good on the whole, by
    `accept_score`, may not fail an aspect.
    """

    principle: Score = 3
    facts: Score = 3
    helpfulness: Score = 3
    fluency: Score = 3
