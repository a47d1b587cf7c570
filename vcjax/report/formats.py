"""Numbers and names as a reader wants them: sensible digits, a true minus, no underscores, in the
language of the report.

A missing value (None or NaN) is a dash and never shown as 0: it wasn't measured.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Concatenate, ParamSpec

from vcjax.report.messages import INITIALISMS, language, message, tr
from vcjax.report.messages import identifier as name_of
from vcjax.stats.intervals import Interval

P = ParamSpec("P")
DASH = "–"
_MINUS = "−"
_LANGUAGES = {"en": message("English"), "zh": message("Chinese")}

# -------------------------------------------------------------------------------------------------
# Numbers.
# -------------------------------------------------------------------------------------------------


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
    return _with_minus(f"{value:.{digits}f}")


@_or_dash
def signed(value: float, digits: int = 2) -> str:
    """A difference; what rounds to nothing carries no sign."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else _with_minus(text)


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
    return _with_minus(f"{100 * share:.0f}%")


def level(confidence: float) -> str:
    """The confidence of an interval: `95%`."""
    return f"{100 * confidence:g}%"


@_or_dash
def probability(p: float) -> str:
    """A p-value: what is smaller than a thousandth isn't known better."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


@_or_dash
def points(difference: float) -> str:
    """A difference of two shares, in percentage points."""
    return signed(100 * difference, 1)


@_or_dash
def duration(seconds: float) -> str:
    """A span of time in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    # Rounded before it is split, or 59.6 seconds were 60 s instead of a minute.
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return tr("{m} min {s} s", m=whole // 60, s=whole % 60)
    return tr("{h} h {m} min", h=whole // 3600, m=whole % 3600 // 60)


@_or_dash
def scientific(value: float) -> str:
    """A number of unknown size, as a numerical error is: two digits and a power of ten."""
    if value == 0:
        return "0 (exact)"
    mantissa, exponent = f"{value:.1e}".split("e")
    return _with_minus(f"{mantissa}e{int(exponent)}")


def bounds(interval: Interval, show: Callable[[float], str]) -> str:
    """`low to high`, or a dash where there is no interval."""
    return DASH if interval.bounds is None else between(*map(show, interval.bounds))


def between(low: str, high: str) -> str:
    """`low to high`."""
    return tr("{low} to {high}", low=low, high=high)


def with_bounds(interval: Interval, show: Callable[[float], str]) -> str:
    """`value (low to high)`, the value alone where there is no interval, or a dash."""
    return interval.text(show, tr("{value} ({low} to {high})", value="{}", low="{}", high="{}"))


def k_of_n(k: float, n: float) -> str:
    """`3 of 12`."""
    return tr("{k} of {n}", k=count(k), n=count(n))


def _with_minus(text: str) -> str:
    return text.replace("-", _MINUS)


# -------------------------------------------------------------------------------------------------
# Names.
# -------------------------------------------------------------------------------------------------


def language_name(code: str) -> str:
    """The name of a language of the charters; another code is shown as it is."""
    return tr(_LANGUAGES[code]) if code in _LANGUAGES else code


def spaced(identifier: str) -> str:
    """`ethnic_relations` -> `ethnic relations`."""
    # Only English has capitals, which it drops within a sentence; initialisms keep theirs.
    if language() != "en" or identifier in INITIALISMS:
        return name_of(identifier)
    return identifier.replace("_", " ")


def capitalised(identifier: str) -> str:
    """`ethnic_relations` -> `Ethnic relations`."""
    return name_of(identifier)


def check_labels(keys: Iterable[str]) -> dict[str, str]:
    """A label for each '<principle>/<check>' key: the check, and its principle where two share it.

    Returns the labels by key, in the order of `keys`.
    """
    checks = {key: key.rpartition("/")[2] for key in keys}
    uses = Counter(checks.values())
    labels = {}
    for key, check in checks.items():
        principle = key.partition("/")[0]
        label = capitalised(check)
        if uses[check] > 1:
            label = tr("{check} ({principle})", check=label, principle=spaced(principle))
        labels[key] = label
    return labels


def listed(items: Iterable[str]) -> str:
    """`a, b and c`."""
    *rest, last = items
    if not rest:
        return last
    others = ("、" if language() == "zh" else ", ").join(rest)
    return tr("{others} and {last}", others=others, last=last)


def short_hash(digest: str | None) -> str:
    """The first 12 digits of a hash: enough to compare by eye."""
    return digest[:12] if digest else DASH
