"""Numbers read well, and what is missing is never a zero."""

import math

import pytest

from vcjax.report import numbers
from vcjax.report.names import check_labels, join


@pytest.mark.parametrize(
    "show",
    [
        *(numbers.number, numbers.signed, numbers.count, numbers.percent),
        *(numbers.points, numbers.duration, numbers.tiny),
    ],
)
@pytest.mark.parametrize("value", [None, math.nan])
def test_missing_is_a_dash(show, value):
    assert show(value) == "–"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.number(2.3456), "2.35"),
        (numbers.number(-0.5, 1), "−0.5"),
        (numbers.number(0.0), "0.00"),
        (numbers.signed(0.081), "+0.08"),
        (numbers.signed(-0.081), "−0.08"),
        (numbers.signed(-0.001), "0.00"),
        (numbers.count(1234567), "1,234,567"),
        (numbers.count(0), "0"),
        (numbers.percent(0.0), "0%"),
        (numbers.percent(0.001), "<1%"),
        (numbers.percent(0.999), ">99%"),
        (numbers.percent(1.0), "100%"),
        (numbers.points(0.1234), "+12.3"),
        (numbers.interval(None, 1.0), "–"),
        (numbers.interval(-1, 1.0, numbers.signed), "−1.00 to +1.00"),
        (numbers.duration(9.54), "9.5 s"),
        (numbers.duration(75), "1 min 15 s"),
        (numbers.duration(3900), "1 h 5 min"),
        (numbers.tiny(1.34e-6), "1.3e−6"),
        (numbers.tiny(0), "0 (exact)"),
        (numbers.short_hash("a" * 64), "a" * 12),
        (numbers.short_hash(None), "–"),
    ],
)
def test_sensible_digits(shown, expected):
    assert shown == expected


def test_checks_are_told_apart_by_principle_where_two_share_one():
    labels = check_labels(["form/sane_length", "brief/sane_length", "form/not_a_refusal"])
    assert labels == {
        "form/sane_length": "Sane length (form)",
        "brief/sane_length": "Sane length (brief)",
        "form/not_a_refusal": "Not a refusal",
    }


def test_join():
    assert [join(["a"]), join(["a", "b"]), join("abc")] == ["a", "a and b", "a, b and c"]
