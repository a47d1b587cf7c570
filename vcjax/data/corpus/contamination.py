"""Documents that quote what is measured on: benchmark items, facts and attacks, in every language.

An item is quoted where a stretch of a document, somewhat longer than the item, has at least half of
its n-grams: of four words in English, of four characters in Chinese. So a changed word or
a sentence around it doesn't hide it, and a long document that has the n-grams one by one, pages
apart, doesn't count. Each document is compared with the items of all languages, as a translated
page has the parallel item, and a document may mix languages.

The items are lines of JSONL files, whatever layer of the package they are of: this module reads
them as files.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import UInt64

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl
from vcjax.core.lineage import Parent
from vcjax.data.corpus.document import Document, Removal
from vcjax.text.grams import gram_hashes, units_of, units_of_each

SHIPPED = "shipped"
"""The reference of all that the package measures on."""
_N = 4
_LEAST_UNITS = 5
"""Units of an item: a shorter one ("Why not?") is in many documents that don't quote it."""
_LEAST_GRAMS = 5
"""N-grams of an item that a quotation has, or all where there are fewer: half of those of "Which
city is the capital of Kenya?" are of any capital."""
_FACT_SHARE = 0.9
"""Of a fact's n-grams. Most of a question on a fact may be the name of a treaty or a person, which
any document about it has."""
_STRETCH = 1.5
"""Times the length of an item, in which its n-grams must be."""
_FILTER_BITS = 20
_SHIPPED_FILES = (
    "evaluation/benchmarks/**/*.jsonl",
    "evaluation/facts/*.jsonl",
    "evaluation/options/*.jsonl",
    "evaluation/claims/*.jsonl",
    "evaluation/judge_check.jsonl",
    "adversarial/attacks/labelled_queries.jsonl",
    "adversarial/critic/labelled_answers.jsonl",
)
# Fields that have what is asked, in the order in which they are looked for in a line. Facts have
# theirs by language; their answers are statements that any encyclopedia has.
_TEXTS = ("question", "questions", "query", "prompt", "claim", "paraphrases", "opposing", "text")
_NAMES = ("id", "item", "parallel_id")


@dataclass(frozen=True)
class ContaminationSettings:
    """What must not be in a corpus.

    Attributes:
      benchmarks: comma-separated; `shipped` is all that the package measures on, others are JSONL
        files with a field of text a line (`question`, `questions`, `query`, `prompt`, `claim`,
        `text`).
      share: of an item's n-grams that a quotation has, above 0.
    """

    benchmarks: str = SHIPPED
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"config.share: must be above 0 and at most 1, not {self.share}")

    def parents(self) -> list[Parent]:
        """The files with items; those that are shipped are one parent."""
        role, package = "contamination.benchmarks", _package()
        shipped = tuple(path.relative_to(package).as_posix() for path in _shipped())
        return [
            Parent.of(role, package, name, shipped) if name == SHIPPED else Parent.of(role, name)
            for name in _names(self.benchmarks)
        ]


class Item(NamedTuple):
    """A text that is measured on.

    Attributes:
      name: its file and its id or line there.
      text: what is asked.
      least: share of its n-grams that a quotation has at least.
    """

    name: str
    text: str
    least: float = 0.0


class Contamination:
    """The step that leaves out documents which quote an item."""

    name: ClassVar[str] = "contamination"
    changes: ClassVar[bool] = False
    Settings: ClassVar[type] = ContaminationSettings

    def __init__(self, settings: ContaminationSettings) -> None:
        self._quoted = QuotedItems(load_items(settings.benchmarks), settings.share)

    def apply(self, document: Document, counts: Counter[str]) -> Document | Removal:
        if (item := self._quoted.first(document.text)) is not None:
            return Removal(self.name, "quotes what is measured on", document, item.name)
        return document


class QuotedItems:
    """Items, and the first of them that a text quotes."""

    def __init__(self, items: Iterable[Item], share: float = 0.5) -> None:
        """Args: `share`: see `ContaminationSettings`."""
        self._items: list[Item] = []
        self._needed: list[float] = []  # of each one's different n-grams
        self._lengths: list[int] = []  # of each, in units
        owners: dict[int, list[int]] = defaultdict(list)
        found = list(items)
        for number, hashes, _ in units_of_each([item.text for item in found]):
            if len(hashes) < _LEAST_UNITS:
                continue
            grams = set(gram_hashes(hashes, _N).tolist())
            for gram in grams:
                owners[gram].append(len(self._items))
            self._items.append(found[number])
            needed = max(share, found[number].least) * len(grams)
            self._needed.append(max(needed, min(len(grams), _LEAST_GRAMS)))
            self._lengths.append(len(hashes))
        self._owners = dict(owners)
        keys = np.array(sorted(owners), np.uint64)
        self._shift = np.uint64(64 - _FILTER_BITS)
        self._filter = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._filter[keys >> self._shift] = True

    def __len__(self) -> int:
        return len(self._items)

    def first(self, text: str) -> Item | None:
        """The first item, in their order, that a text quotes; None where it quotes none."""
        found = [index for units in units_of(text) for index in self._in_block(units.hashes)]
        return self._items[min(found)] if found else None

    def _in_block(self, hashes: UInt64[np.ndarray, " units"]) -> Iterator[int]:
        """The items that are quoted in a block."""
        grams = gram_hashes(hashes, _N)
        positions: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for position in np.flatnonzero(self._filter[grams >> self._shift]).tolist():
            gram = int(grams[position])
            for index in self._owners.get(gram, ()):
                positions[index].append((position, gram))
        for index, several in positions.items():
            if len(several) >= self._needed[index] and self._is_near(index, several):
                yield index

    def _is_near(self, index: int, positions: list[tuple[int, int]]) -> bool:
        """Whether one stretch has enough of an item's n-grams, each counted once."""
        stretch = _STRETCH * self._lengths[index]
        within: Counter[int] = Counter()
        start = 0
        for position, gram in positions:
            within[gram] += 1
            # A sliding window over the positions of the item's n-grams, which ascend; each n-gram
            # counts once in it, however often it is there.
            while positions[start][0] < position - stretch:
                gone = positions[start][1]
                within[gone] -= 1
                if not within[gone]:
                    del within[gone]
                start += 1
            if len(within) >= self._needed[index]:
                return True
        return False


def load_items(references: str) -> list[Item]:
    """Reads what is measured on.

    Args:
      references: see `ContaminationSettings.benchmarks`.

    Raises:
      UserError: a missing file, or a line without a text.
    """
    names = _names(references)
    paths = [path for name in names for path in (_shipped() if name == SHIPPED else [Path(name)])]
    return [item for path in paths for item in _read(path)]


def _names(references: str) -> list[str]:
    return [name.strip() for name in references.split(",") if name.strip()]


def _package() -> Path:
    return Path(str(files("vcjax")))


def _shipped() -> list[Path]:
    package = _package()
    return [path for pattern in _SHIPPED_FILES for path in sorted(package.glob(pattern))]


def _read(path: Path) -> Iterator[Item]:
    for line, value in read_jsonl(path):
        where = f"{path}:{line}"
        if not isinstance(value, dict):
            raise UserError(f"{where}: must be an object with a text to look for")
        name = next((str(value[field]) for field in _NAMES if field in value), str(line))
        found = [Item(f"{path.name}: {name}", text) for text in _texts_of(value)]
        for by_language in (value.get("texts") or {}).values():
            found += [
                Item(f"{path.name}: {name}", text, _FACT_SHARE) for text in _texts_of(by_language)
            ]
        if not found:
            raise UserError(f"{where}: has none of the fields {', '.join(_TEXTS)}")
        yield from found


def _texts_of(value: dict[str, Any]) -> Iterator[str]:
    for field in _TEXTS:
        found = value.get(field)
        for text in found if isinstance(found, list) else [found]:
            if isinstance(text, str) and text.strip():
                yield text
