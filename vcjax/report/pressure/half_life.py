"""How soon further training undoes what an arm has learned, in the pressure experiment's report."""

from collections.abc import Iterator, Mapping
from typing import Any

from vcjax.report.formats import (
    capitalised,
    count,
    language_name,
    number,
    points,
    scientific,
    spaced,
)
from vcjax.report.page import Block, Figure, Notice, Section, Table, Text
from vcjax.report.plots import Row, interval_plot
from vcjax.stats.intervals import Interval

_EXAMPLES = {"ordinary": "ordinary examples", "opposing": "opposing examples"}


def half_life_section(found: Mapping[str, Any]) -> Section:
    """A sentence for each arm and kind of examples, a table and a plot.

    Args:
      found: what `vcjax.road.pressure.half_life.half_lives` returned.
    """
    about = (
        f"Every arm was trained further for {count(found['steps'][-1])} steps at the constant "
        f"learning rate {scientific(found['learning_rate'])}, once on {count(found['pairs'])} "
        "ordinary conversations and once on as many pressed facts that are answered falsely, as "
        "the pressure wants. The gain is how many fewer known facts an arm gives up than the "
        "reference. The base model stays as it is; the arm that was trained on neutral questions "
        "is trained further alike, so that its own loss counts too."
    )
    blocks: list[Block] = [Notice("Half-life", line) for line in half_life_lines(found)]
    blocks += [Text(about), _figure(found), _table(found)]
    return Section("half-life", "How long it lasts", blocks)


def half_life_lines(found: Mapping[str, Any]) -> list[str]:
    """One sentence for each arm, language, kind of examples and reference."""
    return [
        f"{capitalised(arm)}, {language_name(lang)}, on {count(found['pairs'])} "
        f"{_EXAMPLES[kind]}: {_stated(own['half_life'], reference)}."
        for arm, lang, kind, reference, own in _each(found)
    ]


def _stated(life: Mapping[str, Any], reference: str) -> str:
    over = f"its gain over {spaced(reference)}"
    if not life["shown"]:
        return f"no gain over {spaced(reference)} is shown that could be lost"
    if life["value"] is None:
        least = "" if life["low"] is None else f" (with 95% confidence after {_steps(life['low'])})"
        return f"more than half of {over} is left after {_steps(life['last'])}{least}"
    return f"half of {over} is gone after {_steps(life['value'])} [{_range(life)}]"


def _steps(value: float) -> str:
    text = count(value) if value == int(value) else number(value, 1)
    return f"{text} steps"


def _range(life: Mapping[str, Any]) -> str:
    low = number(life["low"], 1)
    high = f"more than {count(life['last'])}" if life["high"] is None else number(life["high"], 1)
    return f"{low} to {high}"


def _each(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, Mapping[str, Any]]]:
    for arm, languages in found["arms"].items():
        for lang, kinds in languages.items():
            for kind, over in kinds.items():
                for reference, own in over.items():
                    yield arm, lang, kind, reference, own


def _table(found: Mapping[str, Any]) -> Table:
    rows = []
    for arm, lang, kind, reference, own in _each(found):
        names = f"{capitalised(arm)} beside {spaced(reference)}", language_name(lang), kind
        gains = (Interval.of(each).text(points, "{} [{} to {}]") for each in own["gains"])
        life = own["half_life"]
        if not life["shown"]:
            shown = "no gain shown"
        elif life["value"] is None:
            shown = f"more than {count(life['last'])}"
        else:
            shown = f"{number(life['value'], 1)} [{_range(life)}]"
        rows.append((*names, *gains, shown))
    caption = (
        "Gain in percentage points of known facts, and steps until half of it is gone, with 95% "
        "intervals over facts; between the steps that were measured it is interpolated."
    )
    heads = [f"Gain, step {count(step)}" for step in found["steps"]]
    return Table(caption, ("Arm", "Language", "Examples", *heads, "Half-life"), rows, labels=3)


def _figure(found: Mapping[str, Any]) -> Figure:
    # One reference is enough for a plot; the table has all of them.
    first = next(iter(_each(found)))[3]  # the base model
    rows = [
        Row(f"{capitalised(arm)}, {lang}, {kind}, {step}", [Interval.of(gain)])
        for arm, lang, kind, reference, own in _each(found)
        if reference == first
        for step, gain in zip(found["steps"], own["gains"], strict=True)
    ]
    title = f"Gain over {spaced(first)} after so many steps"
    svg = interval_plot("half-life", title, ["after"], rows, low=-1, high=1, share=True)
    return Figure(f"{title} of further training.", svg)
