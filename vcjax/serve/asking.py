"""From the fields of a request to requests of the engine."""

from collections.abc import Sequence

from vcjax.core.seeds import derive_seed
from vcjax.serve.answers import Asked
from vcjax.serve.errors import ApiError
from vcjax.serve.fields import ChatRequest, CompletionRequest
from vcjax.serve.models import Loaded

Ids = tuple[int, ...]


def new_tokens(wanted: int | None, prompt: int, context: int, most: int, param: str) -> int:
    """The bound of an answer.

    Args:
      wanted: what the request says.
      prompt: tokens of the prompt.
      most: the server's own bound, 0 for none.
      param: the field that holds the prompt.

    Raises:
      ApiError: more than the server gives, or than the model's context has room for.
    """
    if wanted is not None and most and wanted > most:
        message = f"max_tokens: this server gives at most {most} tokens, not {wanted}"
        raise ApiError(400, message, param="max_tokens", code="invalid_value")
    room = context - prompt
    needed = 1 if wanted is None else wanted
    if needed > room:
        message = (
            f"{param}: a prompt of {prompt} tokens and {needed} new ones don't fit the model's "
            f"context of {context}"
        )
        raise ApiError(400, message, param=param, code="context_length_exceeded")
    if wanted is not None:
        return wanted
    return min(room, most) if most else room


def ask(
    loaded: Loaded,
    prompts: Sequence[Ids],
    bounds: Sequence[int],
    body: ChatRequest | CompletionRequest,
    top_logprobs: int,
) -> list[Asked]:
    """The engine's requests: `body.n` for each prompt, one after the other.

    Choice i draws from a seed derived from (seed, i), as in `TextEngine.generate`.

    Raises:
      ApiError: more choices than can wait.
      UserError: settings out of bounds, or a constraint that can't be compiled.
    """
    service = loaded.service
    room = service.engine.slots + service.max_waiting
    if len(prompts) * body.n > room:
        message = f"n: {len(prompts) * body.n} choices; this server takes at most {room} together"
        raise ApiError(400, message, param="n", code="invalid_value")
    seed = body.chosen_seed()
    asked = []
    for prompt, bound in zip(prompts, bounds, strict=True):
        for _ in range(body.n):
            sampling = body.sampling(bound, derive_seed(seed, len(asked)), top_logprobs)
            request = loaded.text.request(prompt, sampling)
            asked.append(Asked(*loaded.text.detokenized(request)))
    return asked
