"""Answers under another charter than that which they were first scored by: what is lower, and that
the floor stays."""

from collections.abc import Mapping
from typing import Any

from vcjax.report.formats import (
    bounds,
    capitalised,
    count,
    language_name,
    number,
    percent,
    points,
    probability,
    signed,
    with_bounds,
)
from vcjax.report.messages import commas, message, recorded, together, tr
from vcjax.report.page import Block, Notice, Section, Table, Text
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import readings


def swap_section(found: Mapping[str, Any], confidence: float) -> Section:
    """What was found, in a sentence, and the differences.

    Args:
      found: what `vcjax.evaluation.swap.swap` returned.
    """
    first, second = found["before"]["name"], found["after"]["name"]
    rows, domains = _rows(found), _domains(found)
    words = readings({label: change for label, _, change in rows}, confidence)
    blocks: list[Block] = [
        Notice(
            tr("Under “{second}” instead of “{first}”", second=second, first=first),
            _stated(found, words),
        ),
        Text(
            tr(
                "The same answers were scored under both charters, by the same judges with the "
                "same prompts; the questions' own rubrics, which are written for one charter, were "
                "left out. No model was asked again. Floor rules bind every charter: an answer "
                "that breaks one scores 0, so that the share of answers with 0 shouldn't rise."
            )
        ),
        _table(
            tr(
                "Scores under “{second}” less those under “{first}”, question by question. The "
                "words follow p corrected for all rows (Holm).",
                second=second,
                first=first,
            ),
            found,
            rows,
            words,
        ),
    ]
    if found["left_out"]:
        blocks.append(
            Text(
                tr(
                    "{n} answers are in a domain or a language that “{second}” doesn't have, and "
                    "are left out.",
                    n=count(found["left_out"]),
                    second=second,
                )
            )
        )
    if domains:
        by_domain = readings({label: change for label, _, change in domains}, confidence)
        caption = tr("The same by domain, corrected among domains.")
        blocks.append(_table(caption, found, domains, by_domain))
    return Section("swap", tr("Under another charter"), blocks)


def _rows(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Interval]]:
    """Label, record and difference of all that is tested together."""
    named: list[tuple[str, Mapping[str, Any]]] = []
    if found["judge"]["all"]["n"]:
        named.append((_SCORE, found["judge"]["all"]))
        named += [
            (commas(tr(_SCORE), language_name(lang)), own)
            for lang, own in found["judge"]["languages"].items()
        ]
        named.append((_FLOOR, found["floor"]))
    named += [
        (tr("{axis} (judge)", axis=capitalised(name)), own) for name, own in found["axes"].items()
    ]
    if found["rules"]["n"]:
        named.append((_RULES, found["rules"]))
    return [(label, own, Interval.of(own, "difference")) for label, own in named]


_FLOOR = message("Answers that score 0, as one that breaks a floor rule does")
_RULES = message("The charter's own rule checks that an answer passes")
_SCORE = message("Judge's score")
_SENTENCES = {
    _SCORE: message("The judge's mean score"),
    _RULES: message("The share of the charter's own rule checks that an answer passes"),
    _FLOOR: message("The share of answers that score 0, as a broken floor rule makes them"),
}


def _domains(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Interval]]:
    return [
        (capitalised(name), own, Interval.of(own, "difference"))
        for name, own in found["judge"]["domains"].items()
        if own["n"]
    ]


def _table(
    caption: str,
    found: Mapping[str, Any],
    rows: list[tuple[str, Mapping[str, Any], Interval]],
    words: Mapping[str, str],
) -> Table:
    cells = []
    for label, own, change in rows:
        share = label in (_FLOOR, _RULES)
        show, change_shown = (percent, points) if share else (number, signed)
        cells.append(
            (
                tr(label),
                *(show(own[side]) for side in ("before", "after")),
                recorded(words[label]),
                with_bounds(change, change_shown),
                probability(change.p),
                count(change.n),
            )
        )
    names = (found[side]["name"] for side in ("before", "after"))
    head = ("", *names, tr("Reading"), tr("Difference"), "p", tr("Questions"))
    return Table(caption, head, cells)


def _stated(found: Mapping[str, Any], words: Mapping[str, str]) -> str:
    parts = []
    for label, own, change in _rows(found):
        if label not in _SENTENCES:
            continue
        share = label in (_FLOOR, _RULES)
        show = points if share else signed
        parts.append(
            tr(
                "{subject}: {reading} ({change} points, interval {interval}, {n} questions)."
                if share
                else "{subject}: {reading} ({change}, interval {interval}, {n} questions).",
                subject=tr(_SENTENCES[label]),
                reading=recorded(words[label]),
                change=show(change.value),
                interval=bounds(change, show),
                n=count(own["n"]),
            )
        )
    return together(*parts) or tr("Neither a judge nor a rule has scored the answers.")
