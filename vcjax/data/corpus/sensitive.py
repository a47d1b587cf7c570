"""Sensitive content is reported, not removed: how many documents have terms of which kind.

What is to be done with it is the user's decision: a charter that speaks about drugs or violence
needs documents that do. Terms are in `sensitive.yaml`, or in a file of the user's.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from vcjax.core.errors import UserError
from vcjax.core.yaml_files import read_mapping
from vcjax.data.corpus.document import Document
from vcjax.text.units import WORD

SHIPPED = Path(__file__).with_name("sensitive.yaml")


@dataclass(frozen=True)
class SensitiveSettings:
    """What is reported.

    Attributes:
      terms: a YAML file of terms in the form of the shipped one; empty: that one.
      least: occurrences of a kind's terms with which a document is reported. 3 is ours: one or two
        are mentions.
    """

    terms: str = ""
    least: int = 3


class Sensitive:
    """The step: counts documents by kind, and notes occurrences in `meta["sensitive"]`."""

    name: ClassVar[str] = "sensitive"
    changes: ClassVar[bool] = False
    Settings: ClassVar[type] = SensitiveSettings

    def __init__(self, settings: SensitiveSettings) -> None:
        """Raises:
        UserError: the file of terms can't be read or has another form.
        """
        self._terms = SensitiveTerms(Path(settings.terms) if settings.terms else SHIPPED)
        self._least = settings.least

    def apply(self, document: Document, counts: Counter[str]) -> Document:
        found = self._terms.occurrences(document.text)
        found = {kind: count for kind, count in sorted(found.items()) if count >= self._least}
        if not found:
            return document
        counts["reported"] += 1
        counts.update(found.keys())
        return replace(document, meta={**document.meta, "sensitive": found})


class SensitiveTerms:
    """Terms of several kinds, in English and in Chinese, looked for in one pass each."""

    def __init__(self, path: Path) -> None:
        """Raises:
        UserError: the file can't be read, or isn't `{kind: {en: [...], zh: [...]}}`.
        """
        self._kinds: dict[str, dict[str, str]] = {"en": {}, "zh": {}}
        for kind, by_language in read_mapping(path, str(path), "a list of terms").items():
            if not isinstance(by_language, dict) or not by_language.keys() <= self._kinds.keys():
                raise UserError(f"{path}: {kind}: must have the fields en, zh or both")
            for lang, terms in by_language.items():
                if not isinstance(terms, list) or not all(isinstance(t, str) and t for t in terms):
                    raise UserError(f"{path}: {kind}.{lang}: must be a list of terms")
                self._kinds[lang] |= dict.fromkeys((t.casefold() for t in terms), kind)
        # The longest first, so that a term isn't hidden by its prefix.
        chinese = sorted(self._kinds["zh"], key=lambda term: (-len(term), term))
        self._chinese = re.compile("|".join(map(re.escape, chinese)) or "(?!)")

    def occurrences(self, text: str) -> Counter[str]:
        """How often terms of each kind occur; in a mixed text those of both languages count."""
        folded = text.casefold()
        english, chinese = self._kinds["en"], self._kinds["zh"]
        found = Counter(english[word] for word in WORD.findall(folded) if word in english)
        if not text.isascii():
            found.update(map(chinese.__getitem__, self._chinese.findall(folded)))
        return found
