"""What a person reads about a corpus: what each step left, as a table and a plot, and its card.

All of it is made from `summary.json` alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcjax.core.files import replaced
from vcjax.core.markdown import markdown_templates

_ROW = 0.42  # inches between rows of the plot
_LONGEST = 120  # characters of a removed text in a table of the card


def funnel_rows(summary: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """(What, documents, characters) that were left after each step; the first is what was read."""
    steps = list(summary["steps"].items())
    _, read = steps[0]
    rows = [("found", read["documents"], read["characters"])]
    for number, (name, step) in enumerate(steps):
        removed = sum(step["removed"].values())
        if name == "read" and not removed:
            continue
        if number + 1 < len(steps):  # with what the step changed of the texts
            after = steps[number + 1][1]
            rows.append((name, after["documents"], after["characters"]))
        else:
            characters = step["characters"] - step["removed_characters"]
            rows.append((name, step["documents"] - removed, characters))
    return rows


def step_table(summary: Mapping[str, Any]) -> list[str]:
    """Lines for the screen: what each step got and removed, and its most frequent reason."""
    rows = [("step", summary["kind"], "removed", "most of them because")]
    for name, step in summary["steps"].items():
        removed = step["removed"]
        reason = max(removed, key=removed.__getitem__, default="")
        why = f"{reason} ({removed[reason]:,})" if len(removed) > 1 else reason
        rows.append((name, f"{step['documents']:,}", f"{sum(removed.values()):,}", why))
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    return [
        f"{name:<{first}}  {got:>{second}}  {removed:>{third}}  {why}".rstrip()
        for name, got, removed, why in rows
    ]


def write_funnel(path: Path, summary: Mapping[str, Any]) -> None:
    """Draws the shares of documents and of characters that are left after each step, as SVG.

    The same counts give the same bytes.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    rows = funnel_rows(summary)
    columns = [[row[1] for row in rows], [row[2] for row in rows]]
    figure = Figure(figsize=(7, 1.2 + _ROW * len(rows)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for left, (label, colour, offset) in zip(
        columns, (("documents", "#2f6f9f", -0.2), ("characters", "#d08a2e", 0.2)), strict=True
    ):
        shares = [count / max(1, left[0]) for count in left]
        heights = [row + offset for row in range(len(rows))]
        bars = axes.barh(heights, shares, 0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{count:,}" for count in left], padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25)  # with room for the counts
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(f"What is left of the {summary['kind']} after each step", loc="left")
    figure.legend(loc="outside lower right", ncols=2, frameon=False)  # no bar is below it
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with (
        matplotlib.rc_context({"svg.hashsalt": "funnel", "svg.fonttype": "none"}),
        replaced(path) as file,
    ):
        figure.savefig(file, format="svg", metadata={"Date": None})


def corpus_card(name: str, summary: Mapping[str, Any]) -> str:
    """The card in Markdown.

    Args:
      summary: of a run; the card has nothing from elsewhere.
    """
    environment = markdown_templates("vcjax.data")
    environment.filters["cell"] = _cell
    environment.filters["n"] = "{:,}".format
    template = environment.get_template("corpus.md.jinja")
    values = {"validation": None, **summary}
    return template.render(name=name, funnel=funnel_rows(summary), train=summary, **values)


def _cell(text: str) -> str:
    """A text that may stand in a cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
