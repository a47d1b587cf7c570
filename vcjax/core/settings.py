"""Configuration is data with a schema: nested dicts become frozen dataclasses."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from vcjax.core.errors import UserError, suggest

_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "True or False"}

_MISSPELLED = 3
"""As many unknown fields, at most, are somebody's mistakes in a config of the right kind."""


def build(cls: type, values: Any, where: str) -> Any:
    """Builds the dataclass `cls`, nested ones included; fields with a default may be left out.

    Args:
      where: how the user names it, e.g. `config`.

    Raises:
      UserError: an unknown field (the closest one is suggested), a missing one, or one of the
        wrong type. An integer is accepted as a number.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: must have the fields {', '.join(fields)}, not {values!r}")
    if unknown := [str(name) for name in values if name not in fields]:
        others = f" (and {len(unknown) - 1} others: is it another script's?)"
        raise UserError(
            f"{where}.{unknown[0]}: unknown field{suggest(unknown[0], fields)}"
            f"{others * (len(unknown) > _MISSPELLED)}"
        )
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}.{name}: this field is missing")
    typed = {name: _typed(fields[name].type, values[name], f"{where}.{name}") for name in values}
    try:
        return cls(**typed)
    except UserError as error:  # a nested class names its own field as `config.<field>`
        raise UserError(str(error).replace("config.", f"{where}.", 1)) from None


def _typed(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return build(kind, value, where)  # type: ignore[arg-type]
    if get_origin(kind) is tuple:  # tuple[X, ...]
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where}: must be a list, not {value!r}")
        item = get_args(kind)[0]
        return tuple(_typed(item, each, f"{where}[{n}]") for n, each in enumerate(value))
    # `learning_rate=1` is meant as 1.0, and a config that is compared with a stored one must be
    # equal.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int, but `steps=True` is a mistake.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{where}: must be {_NAMES[kind]}, not {value!r}")
    return value


def fill_sections(
    values: Mapping[str, Any], sections: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """A config with what it states once filled into the sections that need it.

    Args:
      sections: for each section what `fill_section` takes as `sources`.
    """
    filled = {
        name: fill_section(f"config.{name}", values[name], values, sources)
        for name, sources in sections.items()
        if name in values
    }
    return {**values, **filled}


def fill_section(
    where: str, section: Any, values: Mapping[str, Any], sources: Mapping[str, str]
) -> dict[str, Any]:
    """A section of a config with the fields that the whole config fills in.

    Args:
      where: how the user names the section.
      sources: by field of the section, the field of `values` that has its value; '' means an
        empty value. A field whose source isn't in `values` is left out.

    Raises:
      UserError: the section has no fields, or one of those that are filled in.
    """
    if not isinstance(section, Mapping):
        raise UserError(f"{where}: must have fields, not {section!r}")
    for field, source in sources.items():
        # An error and no override: two values for one thing leave open which one the run had.
        if field in section:
            remedy = f"set config.{source}" if source else "leave it out"
            raise UserError(f"{where}.{field}: is filled in; {remedy}")
    known = {"": "", **values}
    return {
        **section,
        **{field: known[source] for field, source in sources.items() if source in known},
    }


def merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`shared` with the fields of `own`, level by level."""
    found = dict(shared)
    for field, value in own.items():
        nested = isinstance(value, Mapping) and isinstance(shared.get(field), Mapping)
        found[field] = merged(shared[field], value) if nested else value
    return found


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises UserError unless `value` is one of `choices`; `name` is how the user names it."""
    if value not in choices:
        known = ", ".join(choice or "''" for choice in choices)
        raise UserError(f"{name}: {value!r} is none of {known}{suggest(str(value), choices)}")


def check_at_least(settings: object, least: Mapping[str, int]) -> None:
    """Raises UserError for a field that is below its least value."""
    for name, bound in least.items():
        if (value := getattr(settings, name)) < bound:
            raise UserError(f"config.{name} must be at least {bound}, not {value}")
