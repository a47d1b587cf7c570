"""A page: sections of blocks, written as one HTML file that needs nothing but itself.

`templates/blocks.html.jinja` renders each kind of block. Every string in a block is plain text and
is escaped there; the exceptions are `Figure.svg`, which `plots` drew, and `Prose.html`, which is
rendered from our own template. The page has no script and loads nothing; its content security
policy forbids both, should a model's text ever get past the escaping.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vcjax.core.files import write_text
from vcjax.report.formats import language_name
from vcjax.report.messages import language, message, tr

_ENVIRONMENT = Environment(
    loader=PackageLoader("vcjax.report"),
    # Jinja goes by endings such as `.html`; ours are `.html.jinja`, and Markdown isn't to be
    # escaped.
    autoescape=lambda name: name is not None and ".html." in name,
    # A misspelled field is an error instead of an empty cell.
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Called while a page is rendered: the same templates serve all languages.
_ENVIRONMENT.globals.update(tr=tr, message=message, language=language, language_name=language_name)


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
class Prose:
    """Paragraphs, notices or lists of a template; see `prose`."""

    kind: ClassVar[str] = "prose"
    html: Markup


@dataclass(frozen=True)
class Table:
    """Rows of cells. The first `labels` columns have words, the others numbers."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1


@dataclass(frozen=True)
class Figure:
    """A plot; the caption states what it shows, also for those who can't see it."""

    kind: ClassVar[str] = "figure"
    caption: str
    svg: Markup


@dataclass(frozen=True)
class Figures:
    """Plots side by side where there is room."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Answer:
    """What a model answered, with remarks on what the judge and the checks found."""

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


Block = Text | Notice | Prose | Table | Figure | Figures | Sample


@dataclass(frozen=True)
class Section:
    """A heading, an anchor and blocks."""

    anchor: str
    title: str
    blocks: Sequence[Block]


def prose(macro: str, **values: Any) -> Prose:
    """Renders one macro of `templates/prose.html.jinja`."""
    # Jinja runs a template's top level once for all calls, so that its sentences must stand in
    # macros: else they would stay in the language of the first report.
    module = _ENVIRONMENT.get_template("prose.html.jinja").module
    return Prose(getattr(module, macro)(**values))


def markdown(tables: Sequence[Table]) -> str:
    """The tables in Markdown."""
    return _ENVIRONMENT.get_template("tables.md.jinja").render(tables=tables)


def write_page(
    path: str | os.PathLike, title: str, opening: Sequence[Block], sections: Sequence[Section]
) -> None:
    """Renders the page and writes it, whole or not at all."""
    template = _ENVIRONMENT.get_template("page.html.jinja")
    html = template.render(title=title, opening=opening, sections=sections)
    # A lone surrogate, which JSON can carry, has no UTF-8.
    write_text(path, html.encode(errors="replace").decode())
