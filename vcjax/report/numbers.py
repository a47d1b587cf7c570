"""Numbers as a reader wants them: sensible digits, a true minus, and a dash where there is none.

A missing value (None or NaN) is never shown as 0: it wasn't measured.
"""

import functools
import math
from collections.abc import Callable
from typing import Concatenate, ParamSpec

P = ParamSpec("P")
DASH = "–"
_MINUS = "−"


def missing(value: float | None) -> bool:
    """True for None and NaN."""
    return value is None or math.isnan(value)


def _or_dash(
    show: Callable[Concatenate[float, P], str],
) -> Callable[Concatenate[float | None, P], str]:
    """Shows a missing value as a dash and hands every other to `show`."""

    @functools.wraps(show)
    def shown(value: float | None, *args: P.args, **kwargs: P.kwargs) -> str:
        if value is None or math.isnan(value):
            return DASH
        return show(value, *args, **kwargs)

    return shown


@_or_dash
def number(value: float, digits: int = 2) -> str:
    """A number with a fixed count of decimals."""
    return _minus(f"{value:.{digits}f}")


@_or_dash
def signed(value: float, digits: int = 2) -> str:
    """A difference; what rounds to nothing carries no sign."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else _minus(text)


@_or_dash
def count(value: float) -> str:
    """A count, with separators between thousands."""
    return f"{value:,.0f}"


@_or_dash
def percent(share: float) -> str:
    """A share in [0, 1] in whole per cent; a share that is almost all or nothing says so."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


@_or_dash
def points(difference: float) -> str:
    """A difference of two shares, in percentage points."""
    return signed(100 * difference, 1)


def interval(
    low: float | None, high: float | None, show: Callable[[float | None], str] = number
) -> str:
    """`low to high`, or one dash where either end is missing."""
    return DASH if missing(low) or missing(high) else f"{show(low)} to {show(high)}"


@_or_dash
def duration(seconds: float) -> str:
    """A span of time in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@_or_dash
def tiny(value: float) -> str:
    """A number of unknown size, as a numerical error is: two digits and a power of ten."""
    if value == 0:
        return "0 (exact)"
    mantissa, exponent = f"{value:.1e}".split("e")
    return _minus(f"{mantissa}e{int(exponent)}")


def short_hash(digest: str | None) -> str:
    """The first 12 digits of a hash: enough to compare by eye."""
    return digest[:12] if digest else DASH


def _minus(text: str) -> str:
    return text.replace("-", _MINUS)
