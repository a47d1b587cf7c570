"""Documents of a folder as passages, and the search among them by BM25."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vcjax.core.errors import UserError
from vcjax.text.language import guess_language
from vcjax.text.units import search_terms, sentences

ENDINGS = (".txt", ".md")
_CHARACTERS = {"en": 1500, "zh": 500}
"""The length of a passage, unless a sentence is longer: several must fit a small context."""
_TITLE = 120
"""Characters of a first line that is a title, at most."""


@dataclass(frozen=True)
class Passage:
    """A part of a document.

    Attributes:
      document: the file, relative to its folder.
      text: begins with the document's title, if it has one.
    """

    document: str
    text: str


def read_passages(folder: Path) -> list[Passage]:
    """The passages of all `.txt` and `.md` files below a folder, in the order of their names.

    Raises:
      UserError: no such folder, a file that isn't UTF-8, or no text in any.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no folder of documents ({', '.join(ENDINGS)})")
    passages: list[Passage] = []
    for path in sorted(each for each in folder.rglob("*") if each.suffix.lower() in ENDINGS):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 ({error.reason})") from None
        name = path.relative_to(folder).as_posix()
        passages += [Passage(name, part) for part in split_document(text)]
    if not any(search_terms(passage.text) for passage in passages):
        raise UserError(f"{folder}: no text in any {' or '.join(ENDINGS)} file")
    return passages


def split_document(text: str) -> list[str]:
    """The parts of a document, each of whole sentences and with the document's title."""
    lang = "zh" if guess_language(text) == "zh" else "en"
    first, _, rest = text.strip().partition("\n")
    titled = 0 < len(first) <= _TITLE and bool(rest.strip())
    title, body = (first.strip(), rest) if titled else ("", text)
    parts: list[str] = []
    joint = "" if lang == "zh" else " "
    for sentence in sentences(body, lang):
        if parts and len(parts[-1]) + len(joint) + len(sentence) <= _CHARACTERS[lang]:
            parts[-1] += joint + sentence
        else:
            parts.append(sentence)
    # With the title in each: a passage from the middle often names its subject by a pronoun.
    return [f"{title}\n{part}" if title else part for part in parts]


class Search:
    """An index of passages; see Robertson and Zaragoza, "The Probabilistic Relevance Framework:
    BM25 and Beyond" (2009)."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        # Importing it starts JAX's backend, so it waits until a search is needed.
        import bm25s

        logging.getLogger("bm25s").setLevel(logging.WARNING)
        self._passages = passages
        # Lucene's defaults, which nobody has tuned here. Its variant of the inverse document
        # frequency is never negative, so that a score above 0 means a term in common, as `best`
        # takes it to.
        self._index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
        terms = [search_terms(passage.text) for passage in passages]
        self._index.index(terms, show_progress=False)

    def best(self, query: str, count: int) -> list[Passage]:
        """The passages that fit the query best, best first; none that shares no term with it."""
        terms = search_terms(query)
        if not terms:
            return []
        scores = self._index.get_scores(terms)
        # Ties are in the order of the documents, so that a search is the same on every machine.
        order = np.argsort(-scores, kind="stable")[:count]
        return [self._passages[index] for index in order if scores[index] > 0]
