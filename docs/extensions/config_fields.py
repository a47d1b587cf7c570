"""The directive `config-fields`: the fields of a config, read from its class and its config files.

    :::{config-fields} vcjax.train.config.TrainConfig
    configs/cpt.py
    configs/sft.py:8b
    :::

lists every field of the class with its type, its value in each of those files, what the class's
docstring says of it, and whether the paper leaves it unspecified. A field that isn't documented
is a warning, which `make docs` doesn't let pass.
"""

import dataclasses
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from extensions.paper import UNSPECIFIED
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_TYPES = {"int": "an integer", "float": "a number", "str": "a string", "bool": "True or False"}
_LOGGER = logging.getLogger(__name__)
_LONGEST = 60
"""Characters of a default; of a longer one its prefix is shown."""


def field_texts(cls: type) -> dict[str, str]:
    """What the docstrings of a dataclass and of its bases say of each field (`Attributes:`)."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        _, _, attributes = (each.__dict__.get("__doc__") or "").partition("Attributes:\n")
        names: list[str] = []
        for line in attributes.splitlines():
            if entry := re.match(r" {6}(\w+(?:, \w+)*): (.*)", line):
                names = entry[1].split(", ")
                found.update(dict.fromkeys(names, entry[2]))
            elif line.startswith(" " * 8):
                found.update({name: f"{found[name]} {line.strip()}" for name in names})
            elif line.strip():
                break
    return found


def config_values(reference: str) -> Mapping[str, Any]:
    """The settings of `configs/X.py` or `configs/X.py:VARIANT`, as plain nested dicts."""
    path, _, variant = reference.partition(":")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    return module.get_config(*[variant] if variant else []).to_dict()


def lines(cls: type, references: list[str], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The Markdown of a class's fields, nested classes after the field that has them."""
    texts, unspecified = field_texts(cls), UNSPECIFIED.get(cls.__name__, set())
    configs = {reference: _section(config_values(reference), path) for reference in references}
    for field in dataclasses.fields(cls):
        name, kind = ".".join((*path, field.name)), field.type
        nested = kind if dataclasses.is_dataclass(kind) else None
        text = texts.get(field.name) or _by_name(field.name)
        if nested and not text:
            text = " ".join((nested.__doc__ or "").split("\n\n")[0].split())
        if not text and re.search(rf"`[^`]*\b{field.name}\b", cls.__doc__ or ""):
            text = _mentioned(field.name, texts)
        elif not text and "Attributes:" in (cls.__doc__ or ""):
            _LOGGER.warning("%s.%s isn't documented", cls.__name__, field.name)
        yield f"`{name}`"
        note = "*Unspecified in the paper.*" if field.name in unspecified else ""
        text = _with_choices(text, cls)
        what = _TYPES.get(getattr(kind, "__name__", str(kind)), "")
        given = "" if nested else _defaults(field, configs)
        parts = (f"{what}{'; ' if what and given else ''}{given}.", _sentence(text), note)
        yield f": {' '.join(part for part in parts if part and part != '.')}"
        yield ""
        if nested and nested.__name__ not in ("TrainConfig", "SynthesisConfig", "EvaluationConfig"):
            yield from lines(nested, references, (*path, field.name))


def _with_choices(text: str, cls: type) -> str:
    """The text with the values of the constants that it names, `STAGES` or a full path."""

    def values(name: re.Match) -> str:
        module, _, constant = name[1].rpartition(".")
        found = getattr(importlib.import_module(module or cls.__module__), constant, ())
        listed = ", ".join(f"`{value!r}`" if value == "" else f"`{value}`" for value in found)
        return listed or name[0]

    return re.sub(r"`?\b((?:vcjax\.[a-z_.]+\.)?[A-Z]{4,})\b`?", values, text)


def _mentioned(name: str, texts: Mapping[str, str]) -> str:
    """A pointer to the field whose text explains this one, too; none where the class's own does."""
    where = [other for other, text in texts.items() if re.search(rf"`[^`]*\b{name}\b", text)]
    return f"see `{where[0]}`" if where else ""


def _by_name(name: str) -> str:
    """What a field is whose name says it: bounds and temperatures of the roles."""
    for role in ("attacker", "actor", "critic"):
        if name == f"{role}_tokens":
            return f"bound of a text of the {role.capitalize()}, in tokens"
        if name == f"{role}_temperature":
            return f"at which the {role.capitalize()} is sampled; 0 is greedy"
    shared = {
        "seed": "of every random draw",
        "on_bad_record": "`error` or `quarantine`, where a file has a bad record",
        "top_p": "the share of probability that is sampled from",
    }
    return shared.get(name, "")


def _defaults(field: dataclasses.Field, configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The values of a field by config, those that are alike together."""
    by_value: dict[str, list[str]] = {}
    for reference, values in configs.items():
        if field.name in values:
            shown = _shown(values[field.name])
            by_value.setdefault(shown, []).append(reference.removeprefix("configs/"))
    if not by_value and field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if len(by_value) == 1 and len(next(iter(by_value.values()))) == len(configs):
        return next(iter(by_value))
    return ", ".join(f"{value} ({', '.join(names)})" for value, names in by_value.items())


def _shown(value: Any) -> str:
    text = repr(value)
    text = re.sub(r"'[^']*/vcjax/data/demo/", "'vcjax/data/demo/", text)
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"


def _section(values: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for name in path:
        values = values.get(name, {})
    return values


def _sentence(text: str) -> str:
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", ";")) else ".")


class ConfigFields(SphinxDirective):
    """See the head of this file."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        cls = getattr(importlib.import_module(module), name)
        text = list(lines(cls, [line.strip() for line in self.content if line.strip()]))
        container = nodes.container()
        self.state.nested_parse(StringList(text, self.arguments[0]), 0, container)
        return container.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("config-fields", ConfigFields)
    return {"parallel_read_safe": True, "version": "1"}
