"""Options after a model reference, by which a user changes how a model's chats are rendered.

`runs/sft#template=mine.jinja`, `org/name#template_options=enable_thinking:false#system=first_user`:
with `#` between them, as in an endpoint's reference; `template_options` may come several times.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError, suggest
from vcjax.core.files import hash_text
from vcjax.text.templates import ChatTemplate
from vcjax.text.tokenizer import SYSTEM_MODES, Tokenizer

NAMES = ("template", "template_options", "system")


@dataclass(frozen=True)
class ChatSettings:
    """What a user changes of how a model's chats are rendered.

    Attributes:
      template: Jinja source that replaces the model's own template; None keeps that.
      template_options: variables that the template sees, beside those that the model's folder has.
      system: one of SYSTEM_MODES; None keeps what the model's folder has.
    """

    template: str | None = None
    template_options: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None

    def apply(self, tokenizer: Tokenizer | None) -> Tokenizer | None:
        """The tokenizer with these settings; None where there is none."""
        if tokenizer is None or self == ChatSettings():
            return tokenizer
        if self.template is not None:
            tokenizer = tokenizer.with_template(self.template)
        options = {**tokenizer.template_options, **self.template_options}
        return tokenizer.with_settings(options, self.system or tokenizer.system)


def split_options(reference: str) -> tuple[str, str]:
    """A model reference without its options, and these unchanged, from the first `#` on.

    A folder or file whose name has a `#` is a reference without options.
    """
    if Path(reference).exists():
        return reference, ""
    model, sharp, options = reference.partition("#")
    return model, sharp + options


def read_settings(reference: str) -> ChatSettings:
    """The settings in the options of a model reference.

    Raises:
      UserError: an unknown option or value, or a template that can't be read.
    """
    _, *given = split_options(reference)[1].split("#")
    template: str | None = None
    options: dict[str, Any] = {}
    system: str | None = None
    for each in given:
        name, equals, value = each.partition("=")
        if name not in NAMES or not equals:
            raise UserError(
                f"{reference}: {name!r} is no option of a model{suggest(name, NAMES)} "
                f"(write #NAME=VALUE; known: {', '.join(NAMES)})"
            )
        if name == "template":
            template = _read_template(reference, Path(value))
        elif name == "system":
            system = value
        else:
            options |= _option(reference, value)
    if system is not None and system not in SYSTEM_MODES:
        known = ", ".join(SYSTEM_MODES)
        raise UserError(
            f"{reference}: system must be one of {known}, not {system!r}"
            f"{suggest(system, SYSTEM_MODES)}"
        )
    return ChatSettings(template, options, system)


def template_file(reference: str) -> Path | None:
    """The file that a model reference's `#template=FILE` names; of several the last, as is read."""
    _, *given = split_options(reference)[1].split("#")
    named = [
        value for name, _, value in (each.partition("=") for each in given) if name == "template"
    ]
    return Path(named[-1]) if named else None


def pinned(reference: str) -> str:
    """The reference with the hash of the template's content after its path, for records of runs: a
    run doesn't continue with another template than it began with.

    Raises:
      UserError: a template that can't be read.
    """
    model, *given = reference.split("#") if split_options(reference)[1] else [reference]
    for number, each in enumerate(given):
        name, _, value = each.partition("=")
        if name == "template":
            given[number] = f"{each}@{hash_text(_read_template(reference, Path(value)))[:12]}"
    return "#".join([model, *given])


def _read_template(reference: str, path: Path) -> str:
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{reference}: template {path}: can't be read ({reason})") from None
    if not source.strip():
        raise UserError(f"{reference}: template {path}: is empty")
    try:
        ChatTemplate(source, {})
    except UserError as error:
        raise UserError(f"{reference}: template {path}: {error}") from None
    return source


def _option(reference: str, text: str) -> dict[str, Any]:
    """`NAME:VALUE`; a value that is JSON is parsed, any other one is a string."""
    name, colon, value = text.partition(":")
    if not name.isidentifier() or not colon:
        raise UserError(
            f"{reference}: template_options: write NAME:VALUE, such as enable_thinking:false, "
            f"not {text!r}"
        )
    if value in ("True", "False", "None"):  # Python's spelling, which isn't JSON
        return {name: {"True": True, "False": False, "None": None}[value]}
    try:
        return {name: json.loads(value)}
    except ValueError:
        return {name: value}
