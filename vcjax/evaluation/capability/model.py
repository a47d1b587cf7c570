"""Models as EleutherAI's evaluation harness wants them: on the engine, or behind an endpoint."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_model, register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from requests import RequestException

from vcjax.core.errors import GateNotMet, UserError, suggest
from vcjax.core.lineage import Parent
from vcjax.evaluation.capability.replicas import ReplicatedLM
from vcjax.generate.detokenizer import Detokenizer
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.likelihood import encode_pair, prefix_id
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import Request, Result, SamplingParams, Scored
from vcjax.generate.scoring import TOKEN_BUDGET, score
from vcjax.generate.text import TextEngine
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.text.chat_text import prompt_text
from vcjax.text.templates import Message, default_template
from vcjax.text.tokenizer import MissingTokenizer, Tokenizer
from vcjax.weights.load import open_located
from vcjax.weights.model import LoadedModel
from vcjax.weights.resolve import resolve

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
_KNOWN = (*_SAMPLING, "do_sample", "until", "max_gen_toks", "num_beams")


def chat_prompt(
    tokenizer: Tokenizer, chat_history: Sequence[Message], add_generation_prompt: bool
) -> str:
    """A conversation as text in the tokenizer's chat template, as the harness asks for it.

    Args:
      add_generation_prompt: False leaves out the end of the last turn, which is the assistant's.
    """
    if add_generation_prompt:
        return prompt_text(tokenizer, chat_history).text
    return prompt_text(tokenizer, chat_history[:-1]).text + chat_history[-1]["content"]


class VcjaxLM(LM):
    """A model on this machine's devices.

    As in the harness's own classes, strings of special tokens in a task's texts are parsed as such
    (chat templates write them there), BOS comes first where the tokenizer adds it, and of a text
    that doesn't fit the model's context the last tokens are used.
    """

    def __init__(
        self,
        pretrained: str | LoadedModel,
        *,
        dtype: str | None = None,
        slots: int = 0,
        context: int = 0,
        weights: str = "",
        tensor: int = 1,
        replicas: int = 0,
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        """Args: `pretrained` is any model reference, or a loaded one; the others are those of
        `EngineConfig` and `score`.

        Raises:
          UserError: no such model, or one that is too large for the memory; then it isn't loaded.
        """
        super().__init__()
        config = EngineConfig(
            slots=slots,
            context=context,
            dtype=dtype or "",
            weights=weights,
            tensor=tensor,
            replicas=replicas,
        )
        if isinstance(pretrained, str):
            model = ModelPool(config).get(pretrained)
            self.text, self.origin = model.text, model.origin
        else:
            self.text = TextEngine(pretrained, config.engine(pretrained))
            self.origin = pretrained.origin
        self.token_budget = token_budget

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """For each `(context, continuation)` the natural log-probability of the continuation, and
        whether each of its tokens is the most likely one."""
        scored = self._score([self._pair(request) for request in requests])
        return [(sum(each.logprobs), all(each.greedy)) for each in scored]

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """For each `(text,)` the log-probability of all its tokens, the first one after BOS or EOS.

        A text longer than the context is scored in windows, each token once.
        """
        windows, indices = [], []
        for index, request in enumerate(requests):
            for context, scored in self._windows(request.arguments[0]):
                windows.append(([*context, *scored], len(context)))
                indices.append(index)
        totals = [0.0] * len(requests)
        for index, each in zip(indices, self._score(windows), strict=True):
            totals[index] += sum(each.logprobs)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Continues each `(context, settings)` up to a string of `settings["until"]`, EOS or
        `max_gen_toks` tokens; the cache hook gets each text as it comes."""
        engine_requests = [self.request(request) for request in requests]
        texts: dict[int, str] = {}

        def on_finish(index: int, result: Result) -> None:
            texts[index] = self.text.text(engine_requests[index], result)
            self.cache_hook.add_partial("generate_until", requests[index].arguments, texts[index])

        self.text.engine.generate(engine_requests, on_finish)
        return [texts[index] for index in range(len(requests))]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as text; without the generation prompt its last turn isn't closed."""
        return chat_prompt(self._tokenizer, chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's source; None where no template is to be used."""
        return self._template if chat_template else None

    def request(self, request: Instance) -> Request:
        """The engine's request for `(context, settings)`.

        Raises:
          UserError: a setting that is unknown, or that the engine can't satisfy.
        """
        context, given = request.arguments
        settings: dict[str, Any] = dict(normalize_gen_kwargs(given))
        for name in settings:
            if name not in _KNOWN or (name == "num_beams" and settings[name] != 1):
                raise UserError(
                    f"{_name(request)}: generation_kwargs: {name}={settings[name]!r} isn't "
                    f"supported{suggest(name, _KNOWN)}"
                )
        # The harness cuts prompts from the left, as the question stands at the end.
        room = self._context - settings["max_gen_toks"]
        if room < 1:
            raise UserError(
                f"{_name(request)}: {settings['max_gen_toks']} new tokens don't fit the model's "
                f"context of {self._context}"
            )
        # A special token never becomes text, in which a stop string could be found: it is a stop
        # token.
        special = self._tokenizer.special_tokens
        until = [stop for stop in settings["until"] if stop]
        return Request(
            prompt=tuple(self.prompt(context)[-room:]),
            sampling=SamplingParams(
                max_tokens=settings["max_gen_toks"],
                **{name: settings[name] for name in _SAMPLING if name in settings},
            ),
            eos_ids=(*self.text.eos_ids, *(special[stop] for stop in until if stop in special)),
            stopping=Detokenizer(self._tokenizer, [stop for stop in until if stop not in special]),
        )

    def prompt(self, context: str) -> list[int]:
        """The ids of a text to continue, BOS included where it belongs."""
        tokenizer = self._tokenizer
        ids = tokenizer.encode(context, special=True)
        if not ids or (tokenizer.adds_bos and ids[0] != tokenizer.bos_id):
            return [prefix_id(tokenizer), *ids]
        return ids

    @property
    def tokenizer_name(self) -> str:
        """Identifies the tokenizer in the harness's caches."""
        return self.origin.hash

    @property
    def _tokenizer(self) -> Any:
        return self.text.tokenizer

    @property
    def _template(self) -> str:
        return self._tokenizer.chat_template or default_template(self._tokenizer)

    @property
    def _context(self) -> int:
        return self.text.engine.context

    def _score(self, sequences: Sequence[tuple[list[int], int]]) -> list[Scored]:
        first, *others = self.text.engine.engines
        return score(
            first.graph,
            first.params,
            sequences,
            token_budget=self.token_budget,
            copies=[engine.params for engine in others],
        )

    def _pair(self, request: Instance) -> tuple[list[int], int]:
        ids, start = encode_pair(self._tokenizer, *request.arguments, special=True)
        # The last token is only predicted, so it takes no position of the context.
        surplus = max(0, len(ids) - 1 - self._context)
        if start <= surplus:
            raise UserError(
                f"{_name(request)}: a continuation of {len(ids) - start} tokens doesn't fit the "
                f"model's context of {self._context}"
            )
        return ids[surplus:], start - surplus

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        """Pairs of context tokens and of the tokens that are scored after them."""
        windows = get_rolling_token_windows(
            token_list=self._tokenizer.encode(text, special=True),
            prefix_token=prefix_id(self._tokenizer),
            max_seq_len=self._context,
            context_len=1,
        )
        return [make_disjoint_window(window) for window in windows]


def open_endpoint(spec: EndpointSpec, tokenizer: str | None) -> tuple[LM, Parent]:
    """A model behind an endpoint, as the harness's `local-completions`, and its tokenizer's origin.

    `spec.concurrency` prompts are sent in one request, to each of its replicas. For tasks that need
    log-probabilities the endpoint must return those of prompts (`/completions` with `echo` and
    `logprobs`).

    Args:
      tokenizer: a model reference with the endpoint's context and its tokenizer: prompts are sent
        as ids.

    Raises:
      UserError: nothing answers, there is no tokenizer, a budget is set, or aiohttp is missing.
    """
    if find_spec("aiohttp") is None:
        raise UserError(f"{spec.reference}: needs aiohttp: pip install 'vcjax[eval]'")
    if spec.token_budget or spec.cost_budget:
        raise UserError(f"{spec.reference}: the harness has no token_budget or cost_budget")
    if tokenizer is None:
        raise UserError(f"{spec.reference}: name the model whose tokenizer it has with --tokenizer")
    own = open_located(resolve(tokenizer))
    if own.tokenizer is None:
        raise MissingTokenizer(f"{tokenizer}: this model has no tokenizer")
    # Here, as the harness would find out at its first request, after all of its retries.
    EndpointRole(spec, family="").check()
    key = spec.key()
    with tempfile.TemporaryDirectory() as folder:
        template = own.tokenizer.chat_template or default_template(own.tokenizer)
        own.tokenizer.with_template(template).save(folder)
        settings = {
            "model": spec.model,
            "tokenizer": folder,
            "tokenizer_backend": "huggingface",
            "add_bos_token": own.tokenizer.adds_bos,
            "batch_size": spec.concurrency,
            "max_length": own.config.max_position,
            "max_retries": spec.tries,
            "timeout": spec.timeout,
            # Without a header the harness sends the environment's OPENAI_API_KEY to any endpoint.
            "header": {"Authorization": f"Bearer {key}"} if key else {"Accept": "*/*"},
        }
        replicas = []
        for url in spec.urls:  # the harness knows one of each model
            base = f"{url.removesuffix('/completions')}/completions"
            make = get_model("local-completions").create_from_arg_obj
            replicas.append(make({**settings, "base_url": base}))
    for model in replicas:
        # The harness's own method has neither the options of a template nor our fixed date.
        model.apply_chat_template = partial(chat_prompt, own.tokenizer)  # type: ignore[method-assign]
    first, *others = replicas
    return ReplicatedLM(replicas, spec.concurrency) if others else first, own.origin


@contextmanager
def unanswered(reference: str) -> Iterator[None]:
    """Raises: GateNotMet, with the endpoint's message, where all of a request's tries failed."""
    try:
        yield
    except RequestException as error:
        message = str(error) if error.response is None else f"{error}: {error.response.text}"
        raise GateNotMet(f"{reference}: {' '.join(message.split())}") from None


register_model("vcjax")(VcjaxLM)


def _name(request: Instance) -> str:
    return f"task {request.task_name}, document {request.doc_id}"
