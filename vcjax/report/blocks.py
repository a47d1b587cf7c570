"""What a page is made of: sections of blocks; `templates/page.html.jinja` knows each kind.

Every string in a block is plain text and is escaped when the page is rendered; the one
exception is `Figure.svg`, which `svg.inline_svg` made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Notice:
    """A paragraph in a box; `tone` is `warning`, `up`, `down` or `flat`."""

    kind: ClassVar[str] = "notice"
    title: str
    text: str
    tone: str = "flat"


@dataclass(frozen=True)
class Points:
    """A list of short statements."""

    kind: ClassVar[str] = "points"
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of cells. The first `labels` columns hold words, the others numbers."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1


@dataclass(frozen=True)
class Figure:
    """A plot; the caption says what it shows, for those who can't see it too."""

    kind: ClassVar[str] = "figure"
    caption: str
    svg: Markup


@dataclass(frozen=True)
class Figures:
    """Plots that stand side by side where there is room."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Answer:
    """What a model answered, with what the judge and the checks said of it."""

    title: str
    text: str
    remarks: Sequence[str]


@dataclass(frozen=True)
class Sample:
    """A question that unfolds to its answers. `lang` sets the language of its text."""

    kind: ClassVar[str] = "sample"
    tag: str
    lang: str
    question: str
    answers: Sequence[Answer]


Block = Text | Notice | Points | Table | Figure | Figures | Sample


@dataclass(frozen=True)
class Section:
    """A heading, an anchor and blocks."""

    anchor: str
    title: str
    blocks: Sequence[Block]
