"""A page from its sections: one HTML file that needs nothing but itself.

The page has no script and loads nothing; its content security policy forbids both, should a
model's text ever get past the escaping.
"""

import os
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from vcjax.core.files import write_text
from vcjax.report.blocks import Block, Section

_ENVIRONMENT = Environment(
    loader=PackageLoader("vcjax.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(
    path: str | os.PathLike, title: str, opening: Sequence[Block], sections: Sequence[Section]
) -> None:
    """Renders the page and writes it, whole or not at all."""
    template = _ENVIRONMENT.get_template("page.html.jinja")
    html = template.render(title=title, opening=opening, sections=sections)
    # A lone surrogate, which JSON can carry, has no UTF-8.
    write_text(path, html.encode(errors="replace").decode())
