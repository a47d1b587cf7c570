"""How a user names an OpenAI-compatible endpoint, in one line without spaces.

`http://127.0.0.1:8000/v1#smollm2` or `endpoint:https://host/v1#org/model#key_env=MY_KEY#tries=3`:
a URL, the model's name there, and options (the fields of `EndpointSpec`), with `#` between them.
Replicas of one model are several URLs with commas between them, `http://a/v1,http://b/v1#MODEL`:
what follows the last one is of all.
"""

import os
from dataclasses import fields
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from vcjax.core.errors import UserError, suggest
from vcjax.core.validation import describe

PREFIX = "endpoint:"
_SCHEMES = ("http://", "https://")

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class EndpointSpec:
    """An endpoint, and the bounds of its use.

    Attributes:
      urls: of the replicas, without `/chat/completions`, e.g. `http://127.0.0.1:8000/v1`.
      model: the model's name there.
      key_env: environment variable with the key; empty sends no key.
      concurrency: number of asks in flight at each replica.
      timeout: seconds of one try, from the request to the last byte of the response.
      total: seconds of one ask: all of its tries and the waits between them.
      tries: of one ask, the first one included.
      backoff: seconds before the second try, doubled before each later one, where the endpoint
        doesn't ask for another wait.
      in_a_row: the run ends after this number of consecutive asks without any answer.
      prompt_price, price: cost of a million tokens of prompts and of replies; None is unknown.
      token_budget, cost_budget: bounds of a run's spending, on tokens of prompts and replies
        together; 0 is no bound. Asks in flight by then are finished.
    """

    urls: tuple[str, ...]
    model: str
    key_env: str = ""
    concurrency: Count = 8
    timeout: Seconds = 120.0
    total: Seconds = 600.0
    tries: Count = 5
    backoff: Amount = 1.0
    in_a_row: Count = 20
    prompt_price: Amount | None = None
    price: Amount | None = None
    token_budget: Annotated[int, Field(ge=0)] = 0
    cost_budget: Amount = 0.0

    @property
    def reference(self) -> str:
        """The name in records: the URLs and the model, without options."""
        return f"{','.join(self.urls)}#{self.model}"

    @property
    def slots(self) -> int:
        """Number of asks in flight at all replicas together."""
        return self.concurrency * len(self.urls)

    def cost(self, prompt_tokens: int, tokens: int) -> float | None:
        """What prompts and replies cost; None where a price isn't known."""
        if self.prompt_price is None or self.price is None:
            return None
        return (prompt_tokens * self.prompt_price + tokens * self.price) / 1e6

    @classmethod
    def parse(cls, text: str) -> "EndpointSpec":
        """Parses a reference. Raises: UserError for a bad URL, a missing model or a bad option."""
        # A model's name may have slashes, colons and equals signs, but no `#`, which no URL before
        # it has either.
        given, _, rest = text.removeprefix(PREFIX).partition("#")
        urls = [url.strip() for url in given.split(",")]
        model, *options = rest.split("#")
        for url in urls:
            _check_url(text, url)
        if not model:
            raise UserError(f"{text}: add the model's name there, as in {given}#NAME")
        bases = tuple(url.rstrip("/").removesuffix("/chat/completions") for url in urls)
        if len(set(bases)) < len(bases):
            raise UserError(f"{text}: a URL is there twice")
        values: dict[str, Any] = dict(_split_option(text, option) for option in options)
        try:
            spec = cls(bases, model, **values)
        except ValidationError as failure:
            error = failure.errors()[0]
            raise UserError(f"{text}: {error['loc'][0]}: {describe(error)}") from None
        if spec.cost_budget and spec.cost(0, 0) is None:
            raise UserError(f"{text}: cost_budget needs prices: add #prompt_price= and #price=")
        return spec

    def key(self) -> str:
        """The key, or an empty string. Raises: UserError where its variable isn't set."""
        if self.key_env and not os.environ.get(self.key_env):
            raise UserError(f"{self.reference}: the environment has no {self.key_env}")
        return os.environ[self.key_env] if self.key_env else ""


def is_endpoint(reference: str) -> bool:
    """Whether a role's reference is an endpoint."""
    return reference.startswith((PREFIX, *_SCHEMES))


def is_local(url: str) -> bool:
    """Whether it is on this machine: then a proxy that the environment names isn't used."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def split_references(references: str) -> list[str]:
    """The references in a list with commas; URLs of one endpoint's replicas stay together."""
    split, urls = [], ""
    for part in filter(None, map(str.strip, references.split(","))):
        if is_endpoint(part) and "#" not in part:
            urls += f"{part},"
        else:
            split.append(urls + part)
            urls = ""
    return [*split, urls.removesuffix(",")] if urls else split


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
            "variable that has the key with #key_env=NAME"
        )


def _split_option(text: str, option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    # All but the first two, `urls` and `model`, which have places of their own.
    known = [field.name for field in fields(EndpointSpec)[2:]]
    if name not in known or not equals:
        raise UserError(
            f"{text}: {name!r} is no option of an endpoint{suggest(name, known)} "
            f"(write #NAME=VALUE; known: {', '.join(known)})"
        )
    return name, value
