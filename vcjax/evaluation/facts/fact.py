"""A fact: a question in several wordings, its true answer, a false one of the same kind, a source.

Answers are written as whole sentences, `stem` and answer, so that a model's preference between the
two is that between their differing words, and so that a claim can be quoted in a conversation.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import model_validator as validates

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text, read_jsonl
from vcjax.core.validation import explain
from vcjax.evaluation.facts.importers import import_facts, split_reference
from vcjax.text.language import Language

SHIPPED = "shipped"
"""The reference of the facts that come with the package."""
FOLDER = Path(__file__).parent

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
_END = {"en": ".", "zh": "。"}
_JOIN = {"en": " ", "zh": ""}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FactText(_Strict):
    """A fact in one language.

    Attributes:
      questions: neutral wordings of one question. The first is scored; the others decide whether a
        model knows the fact (where there is one wording alone, it does both).
      stem: an unfinished sentence that either answer completes; empty where the answers are whole
        sentences, or options of a multiple-choice question.
      true, false: the answers.
    """

    questions: Annotated[tuple[Text, ...], Field(min_length=1)]
    stem: str = ""
    true: Text
    false: Text

    @validates(mode="after")
    def _consistent(self) -> Self:
        if self.true == self.false:
            raise ValueError(f"false: is {self.true!r}, as the true answer is")
        if len(set(self.questions)) < len(self.questions):
            raise ValueError("questions: one comes twice")
        return self


class Fact(_Strict):
    """One fact; in the files a line each.

    Attributes:
      relation: what links the question's subject to its answer, e.g. `capital_of`.
      topic: coarser than the relation; topics are held out as wholes.
      domain: a subdomain of a charter, where the fact is of a sensitive one.
      source: where the fact can be checked, e.g. a treaty and its article.
      source_read: whether whoever wrote the fact had the source open; otherwise it is from memory.
      texts: by language; parallel where there are several.
    """

    id: Text
    relation: Name
    topic: Name
    domain: Name | None = None
    source: Text
    source_read: bool = False
    texts: Annotated[dict[Language, FactText], Field(min_length=1)]

    def sentence(self, lang: Language, true: bool) -> str:
        """The true or the false answer as a whole sentence."""
        text = self.texts[lang]
        answer = text.true if true else text.false
        if not text.stem:
            return answer
        return f"{text.stem}{_JOIN[lang]}{answer}{_END[lang]}"

    def sentences(self, lang: Language) -> tuple[str, str]:
        """The true sentence and the false one."""
        return self.sentence(lang, True), self.sentence(lang, False)


def load_facts(references: str | Sequence[str] = SHIPPED) -> list[Fact]:
    """Reads facts, in the order of the files and their lines.

    Args:
      references: `shipped`, JSONL files of the same schema, or published data sets, such as
        `parrot:FILE` (see `vcjax.evaluation.facts.importers`); several separated by commas.

    Raises:
      UserError: a missing file, a line that breaks the schema, an id that comes twice, no facts.
    """
    facts: dict[str, Fact] = {}
    for name, path in _files(references):
        for where, record in _records(name, path):
            fact = _read(record, where)
            if fact.id in facts:
                raise UserError(f"{where}: the id {fact.id!r} comes twice")
            facts[fact.id] = fact
    if not facts:
        names = references if isinstance(references, str) else ", ".join(references)
        raise UserError(f"{names or 'config.facts'}: no facts")
    return list(facts.values())


def left_out(references: str | Sequence[str]) -> int:
    """How many items of published data sets are no facts; see `importers.Imported`."""
    return sum(import_facts(name, path).left_out for name, path in _files(references) if name)


def in_language(facts: Iterable[Fact], lang: Language) -> list[Fact]:
    """The facts that have a text in the language."""
    return [fact for fact in facts if lang in fact.texts]


def facts_hash(facts: Iterable[Fact]) -> str:
    """SHA-256, in hex, of the facts, whatever their order and their files' names."""
    records = sorted((fact.model_dump() for fact in facts), key=lambda record: record["id"])
    return hash_text(json.dumps(records, sort_keys=True, ensure_ascii=False))


def facts_card(facts: Sequence[Fact]) -> dict[str, object]:
    """Counts for a dataset card: by language, topic and domain, and how many sources were read."""
    return {
        "facts": len(facts),
        "languages": dict(Counter(lang for fact in facts for lang in fact.texts)),
        "topics": dict(Counter(fact.topic for fact in facts)),
        "relations": dict(Counter(fact.relation for fact in facts)),
        "domains": dict(Counter(fact.domain for fact in facts if fact.domain)),
        "source_read": sum(fact.source_read for fact in facts),
    }


def fact_paths(references: str | Sequence[str]) -> list[Path]:
    """The files of the references, for a lineage."""
    return [path for _, path in _files(references)]


def _files(references: str | Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files, each with the name of the published data set that it is of, if any."""
    if isinstance(references, str):
        references = [each.strip() for each in references.split(",") if each.strip()]
    for reference in references:
        if reference == SHIPPED:
            yield from (("", path) for path in sorted(FOLDER.glob("*.jsonl")))
        else:
            yield split_reference(reference)


def _records(name: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Records of facts, each with where it was read."""
    if name:
        yield from import_facts(name, path).records
    else:
        yield from ((f"{path}:{number}", record) for number, record in read_jsonl(path))


def _read(record: Any, where: str) -> Fact:
    try:
        return Fact.model_validate(record)
    except ValidationError as failure:
        raise UserError(f"{where}: {explain(failure, Fact)}") from None
