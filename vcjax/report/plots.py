"""The plots. They take plain values and return inline SVG; labels are English.

A missing value leaves its place empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, PercentFormatter

from vcjax.report.estimates import Estimate
from vcjax.report.svg import ROLES, drawing, inline_svg

_ROW = 0.42  # inches between rows
_FRAME = 0.95  # inches for title, axis and legend
_LABEL = 28  # characters of a row's label


@dataclass(frozen=True)
class Row:
    """A line of a plot: one estimate for each series, in the order of the series."""

    label: str
    estimates: Sequence[Estimate]


def intervals(
    name: str,
    title: str,
    series: Sequence[str],
    rows: Sequence[Row],
    *,
    low: float,
    high: float,
    share: bool = False,
) -> Markup:
    """Dots with their intervals, one row a thing; `series` are names in `svg.ROLES`."""
    with drawing(_FRAME + _ROW * max(len(rows), 1)) as figure:
        axes = figure.subplots()
        for index, role in enumerate(series):
            offset = 0.28 * (index - (len(series) - 1) / 2)
            for place, row in enumerate(rows):
                _dot(axes, place + offset, row.estimates[index], role)
        _rows(axes, [row.label for row in rows])
        _scale(axes, low, high, share)
        _finish(axes, title, series)
        return inline_svg(figure, name, title)


def bars(
    name: str,
    title: str,
    series: Sequence[str],
    rows: Sequence[Row],
    *,
    low: float,
    high: float,
    share: bool = False,
) -> Markup:
    """Bars with the interval drawn over them, for more rows than dots can be told apart in."""
    with drawing(_FRAME + _ROW * max(len(rows), 1)) as figure:
        axes = figure.subplots()
        thickness = 0.7 / len(series)
        for index, role in enumerate(series):
            offset = thickness * (index - (len(series) - 1) / 2)
            for place, row in enumerate(rows):
                estimate = row.estimates[index]
                if estimate.value is None:
                    continue
                axes.barh(place + offset, estimate.value, thickness, color=ROLES[role])
                if estimate.bounds:
                    axes.plot(
                        estimate.bounds, [place + offset] * 2, color=ROLES["ink"], linewidth=0.9
                    )
        _rows(axes, [row.label for row in rows])
        _scale(axes, low, high, share)
        _finish(axes, title, series)
        return inline_svg(figure, name, title)


def curve(name: str, title: str, steps: Sequence[int], losses: Sequence[float]) -> Markup:
    """A loss over steps."""
    with drawing(2.3) as figure:
        axes = figure.subplots()
        marker = "o" if len(steps) < 30 else ""
        axes.plot(steps, losses, color=ROLES["after"], marker=marker, markersize=3)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.tick_params(length=0)
        return inline_svg(figure, name, title)


def stacks(
    name: str, title: str, series: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]
) -> Markup:
    """Counts that add up to a row's total, end to end."""
    with drawing(_FRAME + 0.3 + 0.5 * max(len(rows), 1)) as figure:
        axes = figure.subplots()
        starts = [0] * len(rows)
        for index, role in enumerate(series):
            widths = [counts[index] for _, counts in rows]
            axes.barh(range(len(rows)), widths, 0.6, left=starts, color=ROLES[role])
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        _rows(axes, [label for label, _ in rows])
        axes.set_xlabel("attempts")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _finish(axes, title, series)
        return inline_svg(figure, name, title)


def _dot(axes: Axes, place: float, estimate: Estimate, role: str) -> None:
    if estimate.value is None:
        return
    if estimate.bounds:
        axes.plot(estimate.bounds, [place, place], color=ROLES[role], linewidth=2.2)
    marker = "D" if role == "after" else "o"  # told apart without colour too
    # A dot at the end of the scale isn't cut.
    style = {"color": ROLES[role], "marker": marker, "markersize": 6, "clip_on": False}
    axes.plot([estimate.value], [place], **style)


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [_shortened(label) for label in labels])
    axes.set_ylim(len(labels) - 0.45, -0.55)  # the first row on top
    axes.grid(visible=False, axis="y")


def _shortened(label: str) -> str:
    """What fits beside a plot on a phone; the tables have the whole label."""
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"


def _scale(axes: Axes, low: float, high: float, share: bool) -> None:
    margin = 0.015 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MultipleLocator((high - low) / (4 if share else 5)))
    if share:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _finish(axes: Axes, title: str, series: Sequence[str]) -> None:
    axes.set_title(title)
    axes.tick_params(length=0)
    if len(series) > 1:
        handles = [Patch(color=ROLES[role], label=role) for role in series]
        axes.figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(series),
            handlelength=0.9,
            handletextpad=0.4,
            columnspacing=1.0,
        )
