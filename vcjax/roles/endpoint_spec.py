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
    """An endpoint, and the bounds of its use.

    Attributes:
      url: without `/chat/completions`, e.g. `http://127.0.0.1:8000/v1`.
      model: the model's name there.
      key_env: environment variable with the key; empty sends no key.
      concurrency: number of asks in flight.
      timeout: seconds of one try, from the request to the last byte of the response.
      total: seconds of one ask: all of its tries and the waits between them.
      tries: of one ask, the first one included.
      backoff: seconds before the second try, doubled before each later one, where the endpoint
        doesn't ask for another wait.
      in_a_row: the run ends after this number of consecutive asks without any answer.
      prompt_price, price: cost of a million tokens of prompts and of replies.
      token_budget, cost_budget: bounds of a run's spending, on tokens of prompts and replies
        together; 0 is no bound. Asks in flight by then are finished.
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
        """The name in records: the URL and the model, without options."""
        return f"{self.url}#{self.model}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine: then a proxy that the environment names isn't used."""
        return urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")

    @classmethod
    def parse(cls, text: str) -> "EndpointSpec":
        """Parses a reference. Raises: UserError for a bad URL, a missing model or a bad option."""
        url, _, rest = text.removeprefix(PREFIX).partition("#")
        model, *options = rest.split("#")
        _check_url(text, url)
        if not model:
            raise UserError(f"{text}: add the model's name there, as in {url}#NAME")
        values = dict(_option(text, option) for option in options)
        return cls(url.rstrip("/").removesuffix("/chat/completions"), model, **values)

    def key(self) -> str:
        """The key, or an empty string. Raises: UserError where its variable isn't set."""
        if self.key_env and not os.environ.get(self.key_env):
            raise UserError(f"{self.reference}: the environment has no {self.key_env}")
        return os.environ[self.key_env] if self.key_env else ""


def is_endpoint(reference: str) -> bool:
    """Whether a role's reference is an endpoint."""
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
        # The URL isn't repeated, as the message ends up in logs.
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
