"""Tables that fit a phone, and what the sections of measures share."""

from collections.abc import Mapping, Sequence
from typing import Any

from vcjax.report.formats import (
    DASH,
    bounds,
    count,
    k_of_n,
    level,
    listed,
    number,
    percent,
    points,
    probability,
    signed,
    with_bounds,
)
from vcjax.report.messages import commas, recorded, together, tr
from vcjax.report.page import Block, Table, Text
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import NO_CHANGE, reading


def test_head() -> tuple[str, ...]:
    """Above the cells of a test; see `test_cells`."""
    return tr("Reading"), tr("Difference"), tr("Interval"), "p"


def table_blocks(table: Table) -> list[Block]:
    """The table without the columns that are the same in every row, and a sentence on those; the
    sentence alone, if they all are."""
    if len(table.rows) < 2:
        return [table]
    same = [
        index for index in range(1, len(table.head)) if len({row[index] for row in table.rows}) == 1
    ]
    if not same:
        return [table]
    kept = [index for index in range(len(table.head)) if index not in same]
    facts = listed(
        tr("{head} {value}", head=_uncapitalised(table.head[index]), value=table.rows[0][index])
        for index in same
    )
    # Only the labels are left: a table of one column isn't one.
    if len(kept) == 1:
        labels = listed(row[0] for row in table.rows)
        alike = tr("Alike for {labels}: {facts}.", labels=labels, facts=facts)
        return [Text(together(table.caption, alike))]
    text = tr("Alike in every row of the next table: {facts}.", facts=facts)
    thinned = Table(
        table.caption,
        [table.head[index] for index in kept],
        [[row[index] for index in kept] for row in table.rows],
        labels=sum(index < table.labels for index in kept),
    )
    return [Text(text), thinned]


def test_cells(record: Mapping[str, Any], confidence: float, *, share: bool) -> tuple[str, ...]:
    """Cells of a test, under `test_head`; p is the corrected one, shares are in points."""
    change, show = Interval.of(record, "difference"), points if share else signed
    word = reading(change, record["corrected"], confidence)
    # The two sides are conditions of one model, which hasn't changed.
    if word == NO_CHANGE:
        word = "no clear difference"
    p = probability(record["corrected"])
    return recorded(word), show(change.value), bounds(change, show), p


def rate_text(record: Mapping[str, Any]) -> str:
    """`k of n, 12% (5% to 22%)` of a record of `rate_record`."""
    rate = with_bounds(Interval.of(record, "rate"), percent)
    return commas(rate, k_of_n(record["k"], record["n"]))


def value_text(interval: Interval, *, share: bool) -> str:
    """A mean of scores, or a rate, with its interval."""
    return with_bounds(interval, percent if share else number)


def number_text(record: Mapping[str, Any] | None, key: str = "value") -> str:
    """The number `record[key]` with its interval; a dash where there is none."""
    if record is None:
        return DASH
    # `Interval.of` reads an `n`, which coefficients of agreement have none of.
    return with_bounds(Interval.of({**record, "n": 0}, key), number)


def signed_text(record: Mapping[str, Any]) -> str:
    """A difference with its sign and its interval."""
    return with_bounds(Interval.of(record), signed)


def correction_text(tests: int, confidence: float) -> str:
    """How the words follow from the numbers."""
    return tr(
        "Intervals are at {confidence}, each by itself, and hold however the values are "
        "distributed. p is of a test that swaps the two sides at random, corrected (Holm) for all "
        "tests of all measures in this report, {tests} of them here. “Higher” and “lower” "
        "follow p, also where the interval, which is wider, includes zero.",
        confidence=level(confidence),
        tests=count(tests),
    )


def unscored_text(reasons: Mapping[str, int]) -> Sequence[Block]:
    """A sentence on the answers without a value; nothing where there are none."""
    if not reasons:
        return ()
    parts = listed(with_reason(n, reason) for reason, n in reasons.items())
    return (Text(tr("Answers without a value, which are left out: {parts}.", parts=parts)),)


def with_reason(n: int, reason: str) -> str:
    """`3 (malformed)`."""
    return tr("{n} ({reason})", n=count(n), reason=recorded(reason))


def _uncapitalised(head: str) -> str:
    return head[:1].lower() + head[1:]
