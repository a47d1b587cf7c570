"""Shipped claims of which it is known what the shipped documents say: a test of the checker."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.core.validation import explain
from vcjax.evaluation.claims.checking import LABELS, Claim, Label
from vcjax.evaluation.claims.passages import Search
from vcjax.stats.intervals import rate_record
from vcjax.text.language import Language

_FOLDER = Path(__file__).parent
DOCUMENTS = _FOLDER / "documents"


class PlantedClaim(BaseModel):
    """One line of the file.

    Attributes:
      label: what the documents say about it.
      documents: the files that decide it, without their endings; none where it is unverifiable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    parallel_id: str
    claim: Annotated[str, Field(min_length=1)]
    lang: Language
    label: Annotated[Label, Field(alias="class")]
    documents: tuple[str, ...]


def planted_claims(path: Path = _FOLDER / "claims.jsonl") -> list[PlantedClaim]:
    """Reads the claims. Raises: UserError, a line that isn't one."""
    claims = []
    for number, record in read_jsonl(path):
        try:
            claims.append(PlantedClaim.model_validate(record))
        except ValidationError as failure:
            raise UserError(f"{path}:{number}: {explain(failure, PlantedClaim)}") from None
    return claims


def as_claims(planted: Sequence[PlantedClaim]) -> list[Claim]:
    """The claims as they are given to a judge, without what is known about them."""
    return [Claim(each.id, each.lang, each.claim) for each in planted]


def search_recall(
    planted: Sequence[PlantedClaim], search: Search, count: int, confidence: float
) -> dict[str, Any]:
    """By language, the share of claims that a document decides and that have one among the first
    `count` passages found, `{k, n, rate, low, high}`. No judge takes part."""
    found: dict[str, list[bool]] = {}
    for each in planted:
        if each.documents:
            names = {Path(passage.document).stem for passage in search.best(each.claim, count)}
            found.setdefault(each.lang, []).append(bool(names & set(each.documents)))
    return {
        lang: rate_record(sum(hits), len(hits), confidence) for lang, hits in sorted(found.items())
    }


def label_recall(
    planted: Sequence[PlantedClaim], labels: Sequence[str | None], confidence: float
) -> dict[str, Any]:
    """By language and class, the share of the planted claims that were given it.

    Claims that were given no label count as missed.
    """
    found: dict[str, dict[str, list[bool]]] = {}
    for each, label in zip(planted, labels, strict=True):
        own = found.setdefault(each.lang, {name: [] for name in LABELS})
        # A claim without a label is one that the checker didn't find.
        own[each.label].append(label == each.label)
    return {
        lang: {name: rate_record(sum(hits), len(hits), confidence) for name, hits in own.items()}
        for lang, own in sorted(found.items())
    }
