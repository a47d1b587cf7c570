"""Ids as a reader wants them."""

from collections import Counter
from collections.abc import Iterable

_LANGUAGES = {"en": "English", "zh": "Chinese"}


def language(code: str) -> str:
    """The English name of a language of the charters; another code is shown as it is."""
    return _LANGUAGES.get(code, code)


def words(identifier: str) -> str:
    """`ethnic_relations` -> `Ethnic relations`."""
    text = identifier.replace("_", " ")
    return text[:1].upper() + text[1:]


def check_labels(keys: Iterable[str]) -> dict[str, str]:
    """A label for each '<principle>/<check>' key: the check, and its principle where two share it.

    Returns the labels by key, in the order of `keys`.
    """
    keys = list(keys)
    uses = Counter(_check(key) for key in keys)
    return {
        key: words(_check(key))
        if uses[_check(key)] == 1
        else f"{words(_check(key))} ({key.partition('/')[0].replace('_', ' ')})"
        for key in keys
    }


def join(items: Iterable[str]) -> str:
    """`a, b and c`."""
    *rest, last = items
    return f"{', '.join(rest)} and {last}" if rest else last


def _check(key: str) -> str:
    return key.rpartition("/")[2]
