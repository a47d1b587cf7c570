"""Formats of numbers, and that a missing number is never a zero."""

import math

import pytest

from vcjax.report import formats
from vcjax.report.formats import check_labels, listed
from vcjax.stats.intervals import Interval


@pytest.mark.parametrize(
    "show",
    [
        *(formats.number, formats.signed, formats.count, formats.percent),
        *(formats.points, formats.duration, formats.scientific, formats.probability),
    ],
)
@pytest.mark.parametrize("value", [None, math.nan])
def test_missing_is_a_dash(show, value):
    assert show(value) == "–"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.number(2.3456), "2.35"),
        (formats.number(-0.5, 1), "−0.5"),
        (formats.number(0.0), "0.00"),
        (formats.signed(0.081), "+0.08"),
        (formats.signed(-0.081), "−0.08"),
        (formats.signed(-0.001), "0.00"),
        (formats.count(1234567), "1,234,567"),
        (formats.count(0), "0"),
        (formats.percent(0.0), "0%"),
        (formats.percent(0.001), "<1%"),
        (formats.percent(0.999), ">99%"),
        (formats.percent(1.0), "100%"),
        (formats.points(0.1234), "+12.3"),
        (formats.probability(0.25), "0.250"),
        (formats.probability(2e-7), "<0.001"),
        (formats.bounds(Interval(0.5, None, 1.0), formats.number), "–"),
        (formats.bounds(Interval(0.0, -1, 1.0), formats.signed), "−1.00 to +1.00"),
        (formats.duration(9.54), "9.5 s"),
        (formats.duration(75), "1 min 15 s"),
        (formats.duration(3900), "1 h 5 min"),
        (formats.scientific(1.34e-6), "1.3e−6"),
        (formats.scientific(0), "0 (exact)"),
        (formats.short_hash("a" * 64), "a" * 12),
        (formats.short_hash(None), "–"),
    ],
)
def test_sensible_digits(shown, expected):
    assert shown == expected


def test_checks_are_distinguished_by_principle_where_two_share_one():
    labels = check_labels(["form/sane_length", "brief/sane_length", "form/not_a_refusal"])
    assert labels == {
        "form/sane_length": "Sane length (form)",
        "brief/sane_length": "Sane length (brief)",
        "form/not_a_refusal": "Not a refusal",
    }


def test_items_are_listed():
    assert [listed(["a"]), listed(["a", "b"]), listed("abc")] == ["a", "a and b", "a, b and c"]
