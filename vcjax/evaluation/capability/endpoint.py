"""A model behind an OpenAI-compatible endpoint, through the harness's `local-completions`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

import requests
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model

from vcjax.core.errors import GateNotMet, UserError
from vcjax.evaluation.capability.model import chat_prompt
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.text.templates import default_template
from vcjax.text.tokenizer import MissingTokenizer
from vcjax.weights.bundle import open_located
from vcjax.weights.resolve import resolve


def open_endpoint(spec: EndpointSpec, tokenizer: str | None) -> LM:
    """The model as the harness asks it, `spec.concurrency` prompts a call.

    For tasks that want log-probabilities the endpoint must give those of prompts (`/completions`
    with `echo` and `logprobs`).

    Args:
      tokenizer: a model reference with the endpoint's context and its tokenizer: prompts are sent
        as ids.

    Raises:
      UserError: nobody answers there, no tokenizer is given, a budget is set, aiohttp is missing.
    """
    if find_spec("aiohttp") is None:
        raise UserError(f"{spec.reference}: needs aiohttp: pip install 'vcjax[eval]'")
    if spec.token_budget or spec.cost_budget:
        raise UserError(f"{spec.reference}: the harness keeps no token_budget or cost_budget")
    if tokenizer is None:
        raise UserError(f"{spec.reference}: say with --tokenizer which model's tokenizer it has")
    own = open_located(resolve(tokenizer))
    if own.tokenizer is None:
        raise MissingTokenizer(f"{tokenizer}: this model has no tokenizer")
    EndpointRole(spec, family="").check()
    key = spec.key()
    with tempfile.TemporaryDirectory() as folder:
        template = own.tokenizer.chat_template or default_template(own.tokenizer)
        own.tokenizer.with_template(template).save(folder)
        settings = {
            "base_url": f"{spec.url.removesuffix('/completions')}/completions",
            "model": spec.model,
            "tokenizer": folder,
            "tokenizer_backend": "huggingface",
            "add_bos_token": own.tokenizer.adds_bos,
            "batch_size": spec.concurrency,
            "max_length": own.config.max_position,
            "max_retries": spec.tries,
            "timeout": spec.timeout,
            # Without one the harness sends the environment's OPENAI_API_KEY to whoever is there.
            "header": {"Authorization": f"Bearer {key}"} if key else {"Accept": "*/*"},
        }
        model = get_model("local-completions").create_from_arg_obj(settings)
    # The harness's own way knows neither the options of a template nor our fixed date.
    model.apply_chat_template = partial(chat_prompt, own.tokenizer)  # type: ignore[method-assign]
    return model


@contextmanager
def unanswered(reference: str) -> Iterator[None]:
    """Raises: GateNotMet, with what the endpoint said, where it didn't answer however often it was
    asked."""
    try:
        yield
    except requests.RequestException as error:
        said = str(error) if error.response is None else f"{error}: {error.response.text}"
        raise GateNotMet(f"{reference}: {' '.join(said.split())}") from None
