"""Documents of a charter's domains: by terms, in one pass for all of them, then by a classifier.

A document whose record states a domain has that one. Otherwise the terms of the charter, and those
of `terms`, decide where there are enough of them for its length (`vcjax.charter.topics`); where
there aren't, and a classifier is named, that decides. What has no domain is left out or kept.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from vcjax.charter.topics import DomainTerms, WeightedTerm
from vcjax.core.errors import UserError, suggest
from vcjax.core.files import read_jsonl
from vcjax.core.lineage import Parent
from vcjax.data.corpus.classifier import NONE, Classifier
from vcjax.data.corpus.document import Document, Removal

DOMAIN_BY = "domain_by"
"""In a document's `meta`: what its domain was found by; absent where its record states one."""
_FIELDS = ("domain", "term", "weight")


@dataclass(frozen=True)
class SelectionSettings:
    """What is of a charter's domains.

    Attributes:
      charter: a shipped charter's name or a file; empty is `config.charter`.
      terms: comma-separated JSONL files of more terms, `{domain, term, weight?}` a line; a weight
        of 0.5 is for a word of which two are needed.
      least_score: of the best domain, in terms of what a text of this length needs to have.
      classifier: a file that `launch.classifier` wrote; decides where terms don't.
      least_probability: of the classifier's best domain.
      keep_others: whether documents of no domain stay.
    """

    charter: str = ""
    terms: str = ""
    least_score: float = 1.0
    classifier: str = ""
    least_probability: float = 0.5
    keep_others: bool = False

    def __post_init__(self) -> None:
        if not self.least_score > 0:
            raise UserError(f"config.least_score: must be above 0, not {self.least_score}")
        if not 0 <= self.least_probability <= 1:
            raise UserError(
                f"config.least_probability: must be from 0 to 1, not {self.least_probability}"
            )

    @property
    def term_files(self) -> list[str]:
        return [name.strip() for name in self.terms.split(",") if name.strip()]

    def parents(self) -> list[Parent]:
        """The charter, the files of terms and the classifier."""
        from vcjax.charter.load import charter_parents  # pydantic: `--help` reads the steps

        terms = [Parent.of("selection.terms", name) for name in self.term_files]
        classifier = [Parent.of("selection.classifier", self.classifier)] if self.classifier else []
        return [*charter_parents(self.charter), *terms, *classifier]


class Selection:
    """The step that finds a document's domain."""

    name: ClassVar[str] = "selection"
    changes: ClassVar[bool] = False
    Settings: ClassVar[type] = SelectionSettings

    def __init__(self, settings: SelectionSettings) -> None:
        from vcjax.charter.load import load_charter  # pydantic: `--help` reads the steps

        self._settings = settings
        subdomains = load_charter(settings.charter).subdomains()
        known = [each.id for each in subdomains]
        more = [term for file in settings.term_files for term in read_terms(file, known)]
        try:
            self._terms = DomainTerms(subdomains, more)
        except ValueError as error:
            raise UserError(f"{settings.terms or settings.charter}: {error}") from None
        self._classifier = Classifier.load(settings.classifier) if settings.classifier else None
        for name in self._classifier.classes if self._classifier else ():
            if name not in (*known, NONE):
                raise UserError(
                    f"{settings.classifier}: {name!r} is no subdomain of {settings.charter!r}"
                )

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        if document.domain is not None:
            counts["domain stated by the record"] += 1
            return document
        # Terms before the classifier: they are cheap, and a person can see why they fitted.
        scores = self._terms.scores(document.text)
        # Of equal scores the first in the charter's order.
        domain = max(scores, key=scores.__getitem__, default=None)
        if domain is not None and scores[domain] >= self._settings.least_score:
            counts["domain found by terms"] += 1
            meta = {**document.meta, DOMAIN_BY: "terms", "domain_score": round(scores[domain], 3)}
            return replace(document, domain=domain, meta=meta)
        if self._classifier is not None:
            likely, probability = self._classifier.best(document.text)
            if likely != NONE and probability >= self._settings.least_probability:
                counts["domain found by the classifier"] += 1
                found = {DOMAIN_BY: "classifier", "domain_probability": round(probability, 3)}
                return replace(document, domain=likely, meta={**document.meta, **found})
        if self._settings.keep_others:
            counts["no domain, kept"] += 1
            return document
        detail = "no term" if domain is None else f"best {domain}, score {scores[domain]:.2f}"
        return Removal(self.name, "no domain of the charter", document, detail)


def read_terms(path: str, domains: list[str]) -> Iterator[WeightedTerm]:
    """Reads terms from a JSONL file.

    Args:
      domains: ids that may be in it.

    Raises:
      UserError: a line that isn't `{domain, term, weight?}`; names file and line.
    """
    for line, value in read_jsonl(path):
        yield _term(value, f"{path}:{line}", domains)


def _term(value: Any, where: str, domains: list[str]) -> WeightedTerm:
    if not isinstance(value, dict):
        raise UserError(f"{where}: must be an object with {', '.join(_FIELDS)}")
    for field in value:
        if field not in _FIELDS:
            raise UserError(f"{where}: unknown field {field!r}{suggest(field, _FIELDS)}")
    domain, term, weight = value.get("domain"), value.get("term"), value.get("weight", 1.0)
    if domain not in domains:
        hint = suggest(str(domain), domains)
        raise UserError(f"{where}: field 'domain': {domain!r} is no subdomain{hint}")
    if not isinstance(term, str) or not any(map(str.isalnum, term)):
        raise UserError(f"{where}: field 'term' must be a word or phrase, not {term!r}")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise UserError(f"{where}: field 'weight' must be a number above 0, not {weight!r}")
    return WeightedTerm(term, domain, float(weight))
