"""How soon further training undoes what an arm has learned, in the pressure experiment's report."""

from collections.abc import Iterator, Mapping
from typing import Any

from vcjax.report.formats import (
    between,
    capitalised,
    count,
    language_name,
    number,
    points,
    scientific,
    spaced,
    with_bounds,
)
from vcjax.report.messages import commas, message, tr
from vcjax.report.page import Block, Figure, Figures, Notice, Section, Table, Text
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval

_EXAMPLES = {"ordinary": message("ordinary"), "opposing": message("opposing")}


def half_life_section(found: Mapping[str, Any]) -> Section:
    """A sentence for each arm and kind of examples, a table and a plot.

    Args:
      found: what `vcjax.road.pressure.half_life.half_lives` returned.
    """
    about = tr(
        "Every arm was trained further for {steps} steps at the constant learning rate {rate}, "
        "once on {pairs} ordinary conversations and once on as many pressed facts that are "
        "answered falsely, as the pressure wants. The gain is how many fewer known facts an arm "
        "gives up than the reference. The base model stays as it is; the arm that was trained on "
        "neutral questions is trained further alike, so that its own loss counts too.",
        steps=count(found["steps"][-1]),
        rate=scientific(found["learning_rate"]),
        pairs=count(found["pairs"]),
    )
    blocks: list[Block] = [Notice(tr("Half-life"), line) for line in half_life_lines(found)]
    blocks += [Text(about), _figures(found), _table(found)]
    return Section("half-life", tr("How long it lasts"), blocks)


def half_life_lines(found: Mapping[str, Any]) -> list[str]:
    """One sentence for each arm, language, kind of examples and reference."""
    return [
        tr(
            "{arm}, {language}, on {n} {kind} examples: {finding}.",
            arm=capitalised(arm),
            language=language_name(lang),
            n=count(found["pairs"]),
            kind=tr(_EXAMPLES[kind]),
            finding=_stated(own["half_life"], reference),
        )
        for arm, lang, kind, reference, own in _each(found)
    ]


def _stated(life: Mapping[str, Any], reference: str) -> str:
    over = spaced(reference)
    if not life["shown"]:
        return tr("no gain over {reference} is shown that could be lost", reference=over)
    if life["value"] is not None:
        return tr(
            "half of its gain over {reference} is gone after {steps} [{range}]",
            reference=over,
            steps=_steps(life["value"]),
            range=_range(life),
        )
    if life["low"] is None:
        return tr(
            "more than half of its gain over {reference} is left after {steps}",
            reference=over,
            steps=_steps(life["last"]),
        )
    return tr(
        "more than half of its gain over {reference} is left after {steps} (with 95% confidence "
        "after {least})",
        reference=over,
        steps=_steps(life["last"]),
        least=_steps(life["low"]),
    )


def _steps(value: float) -> str:
    return tr("{n} steps", n=count(value) if value == int(value) else number(value, 1))


def _range(life: Mapping[str, Any]) -> str:
    high = _more_than(life["last"]) if life["high"] is None else number(life["high"], 1)
    return between(number(life["low"], 1), high)


def _more_than(steps: float) -> str:
    return tr("more than {n}", n=count(steps))


def _each(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, Mapping[str, Any]]]:
    for arm, languages in found["arms"].items():
        for lang, kinds in languages.items():
            for kind, over in kinds.items():
                for reference, own in over.items():
                    yield arm, lang, kind, reference, own


def _table(found: Mapping[str, Any]) -> Table:
    rows = []
    for arm, lang, kind, reference, own in _each(found):
        names = (
            tr("{first} beside {second}", first=capitalised(arm), second=spaced(reference)),
            language_name(lang),
            tr(_EXAMPLES[kind]),
        )
        gains = (with_bounds(Interval.of(each), points) for each in own["gains"])
        life = own["half_life"]
        if not life["shown"]:
            shown = tr("no gain shown")
        elif life["value"] is None:
            shown = _more_than(life["last"])
        else:
            shown = tr("{value} ({bounds})", value=number(life["value"], 1), bounds=_range(life))
        rows.append((*names, *gains, shown))
    caption = tr(
        "Gain in percentage points of known facts, and steps until half of it is gone, with 95% "
        "intervals over facts; between the steps that were measured it is interpolated."
    )
    heads = (tr("Arm"), tr("Language"), tr("Examples"))
    gains = (tr("Gain, step {step}", step=count(step)) for step in found["steps"])
    return Table(caption, (*heads, *gains, tr("Half-life")), rows, labels=3)


def _figures(found: Mapping[str, Any]) -> Figures:
    """One for each language, as there is no room for its name in the labels of the rows."""
    # One reference is enough for a plot; the table has all of them.
    first = next(iter(_each(found)))[3]  # the base model
    rows: dict[str, list[Row]] = {}
    for arm, lang, kind, reference, own in _each(found):
        if reference == first:
            rows.setdefault(lang, []).extend(
                Row(commas(capitalised(arm), tr(_EXAMPLES[kind]), str(step)), [Interval.of(gain)])
                for step, gain in zip(found["steps"], own["gains"], strict=True)
            )
    figures = []
    for lang, own in rows.items():
        values = {"reference": spaced(first), "language": language_name(lang)}
        # Short, as it has the width of the axes alone.
        title = tr("Gain over {reference}, {language}", **values)
        svg = interval_plot(f"half-life-{lang}", title, ["after"], own, low=-1, high=1, share=True)
        caption = tr(
            "Gain over {reference} after so many steps of further training, {language}.", **values
        )
        figures.append(Figure(caption, svg))
    return Figures(figures)
