"""Numbers as a reader wants them: sensible digits, a true minus, and a dash where there is none.

A missing value (None or NaN) is never shown as 0: it wasn't measured.
"""

import math

DASH = "–"
_MINUS = "−"


def missing(value: float | None) -> bool:
    """True for None and NaN."""
    return value is None or math.isnan(value)


def number(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of decimals."""
    return DASH if missing(value) else _minus(f"{value:.{digits}f}")


def signed(value: float | None, digits: int = 2) -> str:
    """A difference; what rounds to nothing carries no sign."""
    if missing(value):
        return DASH
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else _minus(text)


def count(value: int | None) -> str:
    """A count, with separators between thousands."""
    return DASH if missing(value) else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share in [0, 1] in whole per cent; a share that is almost all or nothing says so."""
    if missing(share):
        return DASH
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


def points(difference: float | None) -> str:
    """A difference of two shares, in percentage points."""
    return DASH if missing(difference) else signed(100 * difference, 1)


def interval(low: float | None, high: float | None, show=number) -> str:
    """`low to high`, or one dash where either end is missing."""
    return DASH if missing(low) or missing(high) else f"{show(low)} to {show(high)}"


def duration(seconds: float | None) -> str:
    """A span of time in its two largest units."""
    if missing(seconds):
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def tiny(value: float | None) -> str:
    """A number of unknown size, as a numerical error is: two digits and a power of ten."""
    if missing(value):
        return DASH
    if value == 0:
        return "0 (exact)"
    mantissa, exponent = f"{value:.1e}".split("e")
    return _minus(f"{mantissa}e{int(exponent)}")


def short_hash(digest: str | None) -> str:
    """The first 12 digits of a hash: enough to compare by eye."""
    return digest[:12] if digest else DASH


def _minus(text: str) -> str:
    return text.replace("-", _MINUS)
