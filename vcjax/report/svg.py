"""A matplotlib figure as SVG that can stand inside an HTML page.

Colours are named by role while drawing and become CSS variables here, so that a plot follows
the page's light or dark scheme. The same figure gives the same bytes.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from vcjax.core.files import hash_text

# Role -> the colour that stands for it while drawing. Any distinct six digits do.
ROLES = {
    "ink": "#010101",
    "grid": "#020202",
    "before": "#030303",
    "after": "#040404",
    "accepted": "#050505",
    "rejected": "#060606",
    "unscored": "#070707",
    "blocked": "#080808",
}
WIDTH = 4.7  # inches, 338 units of SVG: a phone shows a plot at about its own size

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # the reader's own fonts draw the text
    "font.family": "sans-serif",
    "font.size": 11,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.edgecolor": ROLES["grid"],
    "axes.labelcolor": ROLES["ink"],
    "axes.titlecolor": ROLES["ink"],
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": ROLES["grid"],
    "grid.linewidth": 0.6,
    "text.color": ROLES["ink"],
    "xtick.color": ROLES["grid"],
    "ytick.color": ROLES["grid"],
    "xtick.labelcolor": ROLES["ink"],
    "ytick.labelcolor": ROLES["ink"],
    "hatch.color": ROLES["ink"],
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
}


@contextmanager
def drawing(height: float) -> Iterator[Figure]:
    """Yields an empty figure, `height` inches high, under the style of the page's plots."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(WIDTH, height))


def inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """Returns the figure as an `<svg>` element. Call it inside `drawing`.

    Args:
      name: unique in the page; ids, which otherwise clash between plots, begin with its hash (a
        name may hold what doesn't belong into markup).
      label: what the plot shows, read out by screen readers.
    """
    stream, prefix = io.StringIO(), f"p{hash_text(name)[:10]}"
    absent = dict.fromkeys(["Creator", "Date", "Format", "Type"])
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    with matplotlib.rc_context({"svg.hashsalt": prefix}):
        FigureCanvasSVG(figure).print_svg(stream, metadata=absent)
    text = stream.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    width, height = 72 * figure.get_size_inches()
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # would style the whole page
    body = re.sub(r" font-family: [^;]+;", "", body)  # the page's own family
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    body = re.sub(r"url\(#", f"url(#{prefix}-", body)
    body = body.replace("xlink:href", "href")
    for role, colour in ROLES.items():
        body = body.replace(colour, f"var(--{role})")
    opening = Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">').format(
        width, height, label
    )
    return opening + Markup(body.strip())
