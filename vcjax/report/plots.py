"""The plots: plain values in, inline SVG out that follows the page's light or dark scheme.

Colours are named by role while matplotlib draws, and become CSS variables in the SVG. The same
values give the same bytes. A missing value leaves its position empty.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, PercentFormatter

from vcjax.core.files import hash_text
from vcjax.report.messages import recorded, tr
from vcjax.stats.intervals import Interval

COLOURS = {
    "ink": "#010101",
    "grid": "#020202",
    "before": "#030303",
    "after": "#040404",
    "accepted": "#050505",
    "rejected": "#060606",
    "unscored": "#070707",
    "blocked": "#080808",
}
"""Role -> the colour that represents it while drawing. Any distinct six digits do."""
WIDTH = 4.7  # inches, 338 units of SVG: a phone shows a plot at about its own size

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # the reader's own fonts draw the text
    "font.family": "sans-serif",
    "font.size": 11,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "axes.edgecolor": COLOURS["grid"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.6,
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["grid"],
    "ytick.color": COLOURS["grid"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "hatch.color": COLOURS["ink"],
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
}
_ROW = 0.42  # inches between rows
_FRAME = 0.95  # inches for title, axis and legend
_LABEL = 28  # letters of a row's label; a Chinese character is as wide as two


@dataclass(frozen=True)
class Row:
    """A row of a plot: one interval for each series, in the order of the series."""

    label: str
    intervals: Sequence[Interval]


def interval_plot(
    name: str,
    title: str,
    series: Sequence[str],
    rows: Sequence[Row],
    *,
    low: float,
    high: float,
    share: bool = False,
    bars: bool = False,
) -> Markup:
    """Values with their intervals, one row for each label.

    Args:
      name: see `_inline_svg`.
      series: names in `COLOURS`, which the legend shows too.
      low, high: the ends of the value axis, which is in per cent where `share`.
      bars: draw bars instead of dots: with many rows dots are hard to follow.
    """
    step = 0.7 / len(series) if bars else 0.28
    draw = partial(_bar, thickness=step) if bars else _dot
    with _drawing(_FRAME + _ROW * max(len(rows), 1)) as figure:
        axes = figure.subplots()
        for index, role in enumerate(series):
            offset = step * (index - (len(series) - 1) / 2)
            for position, row in enumerate(rows):
                draw(axes, position + offset, row.intervals[index], role)
        _row_labels(axes, [row.label for row in rows])
        _value_axis(axes, low, high, share)
        _finish(axes, title, series)
        return _inline_svg(figure, name, title)


def curve(name: str, title: str, steps: Sequence[int], losses: Sequence[float]) -> Markup:
    """A loss over steps."""
    with _drawing(2.3) as figure:
        axes = figure.subplots()
        # More would run into a band.
        marker = "o" if len(steps) < 30 else ""
        axes.plot(steps, losses, color=COLOURS["after"], marker=marker, markersize=3)
        axes.set_title(title)
        axes.set_xlabel(tr("step"))
        axes.set_ylabel(tr("loss"))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(length=0)
        return _inline_svg(figure, name, title)


def stacks(
    name: str, title: str, series: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]
) -> Markup:
    """Counts that add up to a row's total, end to end."""
    with _drawing(_FRAME + 0.3 + 0.5 * max(len(rows), 1)) as figure:
        axes = figure.subplots()
        starts = [0] * len(rows)
        for index, role in enumerate(series):
            widths = [counts[index] for _, counts in rows]
            axes.barh(range(len(rows)), widths, 0.6, left=starts, color=COLOURS[role])
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        _row_labels(axes, [label for label, _ in rows])
        axes.set_xlabel(tr("attempts"))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _finish(axes, title, series)
        return _inline_svg(figure, name, title)


def yield_plot(name: str, title: str, points: Sequence[tuple[int, int]]) -> Markup:
    """A line from the origin through (attempts, accepted pairs) so far."""
    with _drawing(2.6) as figure:
        axes = figure.subplots()
        attempts, accepted = zip((0, 0), *points, strict=True)
        axes.plot(attempts, accepted, color=COLOURS["accepted"])
        for axis, label in ((axes.xaxis, tr("attempts")), (axes.yaxis, tr("accepted pairs"))):
            axis.set_label_text(label)
            axis.set_major_locator(MaxNLocator(6, integer=True))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        return _inline_svg(figure, name, title)


def _dot(axes: Axes, position: float, interval: Interval, role: str) -> None:
    if interval.value is None:
        return
    if interval.bounds:
        axes.plot(interval.bounds, [position, position], color=COLOURS[role], linewidth=2.2)
    marker = "D" if role == "after" else "o"  # distinguishable without colour too
    # A dot at the end of the axis isn't cut.
    style = {"color": COLOURS[role], "marker": marker, "markersize": 6, "clip_on": False}
    axes.plot([interval.value], [position], **style)


def _bar(axes: Axes, position: float, interval: Interval, role: str, thickness: float) -> None:
    if interval.value is None:
        return
    axes.barh(position, interval.value, thickness, color=COLOURS[role])
    if interval.bounds:
        axes.plot(interval.bounds, [position] * 2, color=COLOURS["ink"], linewidth=0.9)


def _row_labels(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [_shortened(label) for label in labels])
    axes.set_ylim(len(labels) - 0.45, -0.55)  # the first row on top
    axes.grid(visible=False, axis="y")


def _shortened(label: str) -> str:
    """What fits beside a plot on a phone; the tables have the whole label."""
    ends = list(accumulate(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in label))
    if not ends or ends[-1] <= _LABEL:
        return label
    return label[: sum(end < _LABEL for end in ends)] + "…"


def _value_axis(axes: Axes, low: float, high: float, share: bool) -> None:
    margin = 0.015 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    # Quarters of a share; fifths of a scale of scores, which are whole from 0 to 5.
    axes.xaxis.set_major_locator(MultipleLocator((high - low) / (4 if share else 5)))
    if share:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _finish(axes: Axes, title: str, series: Sequence[str]) -> None:
    axes.set_title(title)
    axes.tick_params(length=0)
    if len(series) > 1:
        handles = [Patch(color=COLOURS[role], label=recorded(role)) for role in series]
        axes.figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(series),
            handlelength=0.9,
            handletextpad=0.4,
            columnspacing=1.0,
        )


@contextmanager
def _drawing(height: float) -> Iterator[Figure]:
    """Yields an empty figure, `height` inches high, under the style of the page's plots."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's fonts draw Chinese; a missing glyph is measured a little wider than it is.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        # Not by pyplot, which keeps every figure until it is closed and chooses a backend by the
        # machine.
        yield Figure(figsize=(WIDTH, height))


def _inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """Returns the figure as an `<svg>` element. Call it inside `_drawing`.

    Args:
      name: unique in the page; ids, which otherwise clash between plots, begin with its hash (a
        name may have characters that don't belong into markup).
      label: what the plot shows, read out by screen readers.
    """
    stream, prefix = io.StringIO(), f"p{hash_text(name)[:10]}"
    # A date or a version would change the bytes of the same plot.
    absent = dict.fromkeys(["Creator", "Date", "Format", "Type"])
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    # Matplotlib names clip paths and markers by a salted hash, and draws the salt anew each time
    # unless it is set.
    with matplotlib.rc_context({"svg.hashsalt": prefix}):
        FigureCanvasSVG(figure).print_svg(stream, metadata=absent)
    text = stream.getvalue()
    # Without matplotlib's own opening tag: it has a fixed size, and with a viewBox alone the page
    # scales the plot.
    body = text[text.index(">", text.index("<svg")) + 1 :]
    width, height = 72 * figure.get_size_inches()
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # would style the whole page
    body = re.sub(r" font-family: [^;]+;", "", body)  # the page's own family
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    body = re.sub(r"url\(#", f"url(#{prefix}-", body)
    body = body.replace("xlink:href", "href")
    for role, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{role})")
    opening = Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">').format(
        width, height, label
    )
    return opening + Markup(body.strip())
