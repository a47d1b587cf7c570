"""The words of a report in the language that its reader chose.

    with written_in("zh"):
        tr("{n} of {total} answers", n="3", total="12")      # 12 个回答中的 3 个

The code has the English sentence, which is also its key in `catalogues/zh/`: lists of `en` and `zh`
in YAML, a file for each part of the report. Whoever changes a sentence changes its key, and
`tests/report/test_messages.py` then asks for the new Chinese; it finds the sentences by their calls
of `tr` and `message`, so that these get literals. A sentence without Chinese is shown in English: a
report that lacks a translation is better than none.

The catalogue works as gettext's does, but isn't: Python's gettext reads only compiled files, which
would need a step of the build or binaries in the repository, and what reads the text form isn't in
the standard library. YAML needs neither.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import get_args

import yaml

from vcjax.core.errors import UserError, suggest
from vcjax.text.language import HAN, Language

_CATALOGUES = files("vcjax.report") / "catalogues"
_FIELD = re.compile(r"\\{(\w+)\\}")
_LATIN = re.compile(r"[A-Za-z0-9%]")

INITIALISMS = {"cpt": "CPT", "sft": "SFT", "dpo": "DPO", "orpo": "ORPO"}
"""Identifiers that are written in capitals everywhere."""


@dataclass(frozen=True)
class _Reader:
    """The language of a report, and what this language calls the identifiers of the charter."""

    language: Language = "en"
    names: Mapping[str, str] = field(default_factory=dict)


_READER: ContextVar[_Reader] = ContextVar("reader", default=_Reader())  # noqa: B039 (frozen)


@contextmanager
def written_in(
    language: Language, names: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[None]:
    """What is written inside is in this language.

    Args:
      names: of the domains, by id and language, as `summary.json` has them of its charter.
    """
    own = {id: by[language] for id, by in (names or {}).items() if language in by}
    token = _READER.set(_Reader(language, own))
    try:
        yield
    finally:
        _READER.reset(token)


def check_language(language: str, where: str) -> None:
    """Raises a UserError that names `where` unless reports can be written in this language."""
    known = get_args(Language)
    if language not in known:
        raise UserError(
            f"{where}: no report is written in {language!r}{suggest(language, known)}; "
            f"one of {', '.join(known)}"
        )


def language() -> Language:
    """The language that is written now."""
    return _READER.get().language


def tr(english: str, **values: object) -> str:
    """The sentence in the language that is written now, with `{name}` replaced by the value."""
    template = catalogue(language()).get(english, english)
    # A name without a translation is no template: it may have braces.
    return _filled(template, values) if values else template


def message(english: str) -> str:
    """Marks a constant that `tr` gets later, so that the test finds it."""
    return english


def identifier(name: str) -> str:
    """`ethnic_relations` as the language that is written now calls it: by the charter's own name,
    or by its words, `Ethnic relations`, as the catalogue has them. English keeps the words, by
    which the tables of the terminal and of `summary.json` are found again."""
    if language() != "en" and name in _READER.get().names:
        return _READER.get().names[name]
    if name in INITIALISMS:
        return tr(INITIALISMS[name])
    words = name.replace("_", " ")
    return tr(words[:1].upper() + words[1:])


def recorded(text: str) -> str:
    """A sentence that a summary has in English, such as what is wrong with a run.

    Its values are in it already, so that it is found by its form: the catalogue's sentence, with
    anything in the place of a value. Values, and each of several between commas, are sentences of
    the catalogue too, or stay as they are.
    """
    if text in catalogue(language()):
        return tr(text)
    # The first form that fits: a general one must stand behind the special ones in the file.
    for pattern, template in _forms(language()):
        if (found := pattern.fullmatch(text)) is not None:
            values = {
                # A value may be a list, whose parts are recorded words, such as a judge's problems.
                name: "、".join(map(recorded, value.split(", ")))
                for name, value in found.groupdict().items()
            }
            return _filled(template, values)
    return text


def _filled(template: str, values: Mapping[str, object]) -> str:
    """The template with its values. A space stands between Chinese and Latin characters where they
    meet, and none between two Chinese ones, so that a template fits values of both kinds."""
    text = ""
    # The template alone is parsed, and not what comes of it: a value, such as a model's name, may
    # have braces.
    for literal, name, _, _ in Formatter().parse(template):
        text = _joined(text, literal)
        if name is not None:
            text = _joined(text, str(values[name]))
    return text


def _joined(left: str, right: str) -> str:
    ends = left.rstrip(" ")[-1:] + right.lstrip(" ")[:1]
    if len(ends) == 2 and all(map(HAN.match, ends)):
        return left.rstrip(" ") + right.lstrip(" ")
    if HAN.search(ends) and _LATIN.search(ends) and " " not in (left[-1:], right[:1]):
        return f"{left} {right}"
    return left + right


def together(*sentences: str) -> str:
    """Sentences in a row; Chinese has no space between them. Empty ones are left out."""
    return ("" if language() == "zh" else " ").join(filter(None, sentences))


def commas(*parts: str) -> str:
    """`Chinese, monitored`: what a row or a plot is of."""
    return ("，" if language() == "zh" else ", ").join(parts)


def semicolons(*parts: str) -> str:
    """Findings in a row, within one sentence."""
    return ("；" if language() == "zh" else "; ").join(parts)


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """Sentences by their English; English itself needs none.

    Raises:
      ValueError: a sentence is there twice.
    """
    found: dict[str, str] = {}
    if language == "en":
        return found
    for file in sorted(each.name for each in (_CATALOGUES / language).iterdir()):
        own = entries(language, file)
        if twice := found.keys() & own.keys():
            raise ValueError(f"{file}: {min(twice)!r} has been translated before")
        found |= own
    return found


def entries(language: Language, file: str) -> dict[str, str]:
    """One file of the catalogue. Raises: ValueError, if it has a sentence twice."""
    text = (_CATALOGUES / language / file).read_text(encoding="utf-8")
    pairs = [(entry["en"], entry[language]) for entry in yaml.safe_load(text)]
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(english for english, n in Counter(en for en, _ in pairs).items() if n > 1)
        raise ValueError(f"{file}: {twice!r} is there twice")
    return found


@cache
def _forms(language: Language) -> list[tuple[re.Pattern[str], str]]:
    """Sentences of `records.yaml` that have values, as patterns, beside their translations."""
    if language == "en":
        return []
    return [
        # Escaped first, so that a sentence's own full stops and brackets match themselves; values
        # may have line breaks.
        (re.compile(_FIELD.sub(_form, re.escape(english)), re.DOTALL), translation)
        for english, translation in entries(language, "records.yaml").items()
        if "{" in english
    ]


def _form(field: re.Match[str]) -> str:
    """What matches a value: `n` is a number, everything else is anything."""
    return rf"(?P<{field[1]}>{r'[0-9]+' if field[1] == 'n' else '.+?'})"
