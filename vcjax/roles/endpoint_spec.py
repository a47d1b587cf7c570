"""How a user names an OpenAI-compatible endpoint, in one line without spaces.

`http://127.0.0.1:8000/v1#smollm2` or `endpoint:https://host/v1#org/model#key_env=MY_KEY#tries=3`:
a URL, the model's name there, and options (the fields of `EndpointSpec`), with `#` between them.
"""

import dataclasses
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from vcjax.core.errors import UserError, suggest

PREFIX = "endpoint:"
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class EndpointSpec:
    """An endpoint, and how far it may be used.

    Attributes:
      url: what `/chat/completions` is added to, e.g. `http://127.0.0.1:8000/v1`.
      model: its name there.
      key_env: environment variable that holds the key; empty sends none.
      concurrency: asks under way at a time.
      timeout: seconds of one try, from the request to the last byte of the answer.
      total: seconds of one ask: all of its tries and the waits between them.
      tries: of one ask.
      backoff: seconds before the second try where the endpoint doesn't say; doubled each time.
      in_a_row: a run ends when so many asks fail, one after the other, for want of any answer.
      prompt_price, price: cost of a million tokens asked and answered.
      token_budget, cost_budget: what a run may spend, tokens asked and answered together; 0 is no
        bound. Asks that are under way by then are finished.
    """

    url: str
    model: str
    key_env: str = ""
    concurrency: int = 8
    timeout: float = 120.0
    total: float = 600.0
    tries: int = 5
    backoff: float = 1.0
    in_a_row: int = 20
    prompt_price: float = 0.0
    price: float = 0.0
    token_budget: int = 0
    cost_budget: float = 0.0

    @property
    def reference(self) -> str:
        """How records name it."""
        return f"{self.url}#{self.model}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine: a proxy that the environment names isn't asked then."""
        return urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")

    @classmethod
    def parse(cls, text: str) -> "EndpointSpec":
        """Raises: UserError for a bad URL, no model's name, or a bad option."""
        url, _, rest = text.removeprefix(PREFIX).partition("#")
        model, *options = rest.split("#")
        _check_url(text, url)
        if not model:
            raise UserError(f"{text}: add the model's name there, as in {url}#NAME")
        values = dict(_option(text, option) for option in options)
        return cls(url.rstrip("/").removesuffix("/chat/completions"), model, **values)

    def key(self) -> str:
        """The key, or an empty text. Raises: UserError where its variable isn't set."""
        if self.key_env and not os.environ.get(self.key_env):
            raise UserError(f"{self.reference}: the environment has no {self.key_env}")
        return os.environ[self.key_env] if self.key_env else ""


def is_endpoint(reference: str) -> bool:
    """Whether a role is named by an endpoint."""
    return reference.startswith((PREFIX, *_SCHEMES))


def _check_url(text: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{text}: {error}") from None
    if not url.startswith(_SCHEMES) or not host:
        raise UserError(f"{text}: an endpoint's URL begins with http:// or https://")
    if parts.username or parts.password or parts.query:
        # Not repeated: it would end up in logs.
        raise UserError(
            f"endpoint at {host}: keep keys and passwords out of its URL; name the environment "
            "variable that holds the key with #key_env=NAME"
        )


def _option(text: str, option: str) -> tuple[str, Any]:
    name, equals, value = option.partition("=")
    kinds = {field.name: field.type for field in dataclasses.fields(EndpointSpec)[2:]}
    if name not in kinds or not equals:
        raise UserError(
            f"{text}: {name!r} is no option of an endpoint{suggest(name, kinds)} "
            f"(write #NAME=VALUE; known: {', '.join(kinds)})"
        )
    kind = kinds[name]
    if kind is str:
        return name, value
    whole = kind is int
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        raise UserError(
            f"{text}: {name} must be {'an integer' if whole else 'a number'}, not {value!r}"
        ) from None
    least = 1 if name in ("concurrency", "tries", "in_a_row") else 0
    if not least <= number < float("inf") or (name in ("timeout", "total") and number == 0):
        raise UserError(f"{text}: {name} can't be {value}")
    return name, number
