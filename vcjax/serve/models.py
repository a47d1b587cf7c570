"""The models of a server, which are loaded while it already answers."""

import asyncio
import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vcjax.core.errors import UserError
from vcjax.generate.engine import Engine
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import Event, Request, SamplingParams, Scored
from vcjax.generate.scheduler import RequestState
from vcjax.generate.scoring import TOKEN_BUDGET, score
from vcjax.generate.service import Busy, Closed, Service
from vcjax.generate.text import TextEngine
from vcjax.generate.warmup import warm_up_scoring
from vcjax.serve.config import ServeConfig
from vcjax.serve.errors import ApiError, unavailable
from vcjax.weights.model import GENERATION
from vcjax.weights.resolve import resolve

STEP_TOKENS = 512
"""Tokens of prompts run between two steps, so that a long prompt doesn't halt the streams."""


class Loaded:
    """A model with its engine's thread."""

    def __init__(
        self,
        text: TextEngine,
        max_waiting: int,
        warm_up: int = 0,
        on_window: Callable[[int], None] | None = None,
    ) -> None:
        """Args:
        warm_up: tokens of the longest sequence whose programs are compiled before it is ready.
        on_window: see `Engine.warm_up`; called for the first engine.
        """
        self.text, shape = text, text.engine.config
        _check_defaults(text.sampling_defaults)
        # Now and not with the first request for log-probabilities: the tokenizer is taken apart
        # with the interpreter's lock held.
        with suppress(UserError):  # a tokenizer that allows no constraints
            _ = text.constraints
        self.context, self.vocab_size = text.engine.context, shape.vocab_size

        def prepare(engine: Engine) -> None:
            is_first = engine is text.engine.engines[0]
            engine.warm_up(warm_up, on_window if is_first else None)
            warm_up_scoring(engine.graph, engine.config, engine.params, STEP_TOKENS)

        prepared = prepare if warm_up else None
        self.service = Service(text.engine, max_waiting=max_waiting, prepare=prepared)
        self.scorer = Scorer(self.service)


def _check_defaults(settings: Mapping[str, Any]) -> None:
    """Raises a UserError for sampling settings of a `generation_config.json` that aren't valid."""
    try:
        SamplingParams(**settings)
    except (TypeError, UserError) as error:
        raise UserError(f"{GENERATION}: {error}") from None


class Served:
    """One model under its name in requests."""

    def __init__(self, name: str, reference: str) -> None:
        self.name, self.reference = name, reference
        self.loaded: Loaded | None = None
        self.created = int(time.time())

    @property
    def status(self) -> str:
        """`loading`, then `warming` (compiling), then `ready`."""
        if self.loaded is None:
            return "loading"
        return "ready" if self.loaded.service.ready else "warming"

    def ready(self) -> Loaded:
        """The model; an ApiError until it is ready."""
        loaded = self.loaded
        if loaded is None or not loaded.service.ready:
            raise unavailable(f"model {self.name!r} is {self.status}; try again soon", "warming")
        return loaded


class Models:
    """All models of a server."""

    def __init__(self, config: ServeConfig) -> None:
        """Resolves the references; loads nothing.

        Raises:
          UserError: a reference that can't be resolved.
        """
        self._config = config
        pairs = zip(config.model_names, config.models, strict=True)
        self.all = tuple(Served(name, reference) for name, reference in pairs)
        for served in self.all:
            resolve(served.reference)
        self.failure: Exception | None = None
        self._loader: threading.Thread | None = None

    @property
    def are_loading(self) -> bool:
        """Whether the thread of `load` is running."""
        return self._loader is not None and self._loader.is_alive()

    def load(self, on_end: Callable[[], None], log: Callable[[str], None] | None = None) -> None:
        """Loads the models one after the other in a thread, which calls `on_end` at its end.

        `failure` is then the exception that prevented a model from being loaded or compiled.

        Args:
          log: called with a line for each length of sequences whose programs are compiled.
        """
        config = self._config

        def compiled(name: str, context: int, window: int) -> None:
            if log is not None:
                most = min(config.warm_up, context)
                log(f"{name}: compiled for sequences of {window:,} of {most:,} tokens")

        def work() -> None:
            try:
                # `keep`: a model that is served must not make room for another.
                models = len(set(config.models))
                pool = ModelPool(
                    config,
                    models=models,
                    keep=True,
                    step_tokens=STEP_TOKENS,
                    row_buckets=config.row_buckets,
                    pages=config.pages,
                )
                for served in self.all:
                    text = pool.get(served.reference).text
                    on_window = partial(compiled, served.name, text.engine.context)
                    served.loaded = Loaded(text, config.max_waiting, config.warm_up, on_window)
                    served.loaded.service.wait_ready()
                # The garbage collector comes the more rarely the more objects there are, and those
                # of the libraries and of the programs, a million, stay to the end.
                gc.collect()
                gc.freeze()
            except Exception as error:
                self.failure = error
            on_end()

        self._loader = threading.Thread(target=work, name="loader", daemon=True)
        self._loader.start()

    @property
    def status(self) -> str:
        """`ready` once all models are; until then the status of the first that isn't."""
        return next((served.status for served in self.all if served.status != "ready"), "ready")

    def named(self, name: str) -> Served:
        """The model of a request. An empty name is the only model.

        Raises:
          ApiError: there is none of this name.
        """
        for served in self.all:
            if served.name == name or (not name and len(self.all) == 1):
                return served
        names = ", ".join(served.name for served in self.all)
        message = f"model: there is no {name!r} here (there are: {names})"
        raise ApiError(404, message, param="model", code="model_not_found")

    @property
    def room(self) -> int:
        """Requests that the models take together, in slots and queues: those that are loaded."""
        return sum(service.slots + service.max_waiting for service in self.services())

    def services(self) -> Sequence[Service]:
        """The services of the models that are loaded."""
        return [served.loaded.service for served in self.all if served.loaded is not None]


@dataclass
class _Query:
    ids: Sequence[int]
    top: int
    future: "Future[Scored]" = field(default_factory=Future)


class Scorer:
    """Scores prompts between the engines' steps, together with those of other requests.

    Beside texts that are being continued it has a share of each step, as many tokens as prompts
    have in the engine's prefill. A longer prompt is one of those: it is scored as it is prefilled,
    in chunks, in a slot of its own.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._queries: deque[_Query] = deque()
        self._taking = threading.Lock()

    async def score(self, prompts: Sequence[Sequence[int]], top: int) -> list[Scored]:
        """Scores `ids[1:]` of each prompt.

        Args:
          prompts: each of at least two ids of the vocabulary, no more than the context.
          top: number of most likely tokens that are returned for each position.

        Raises:
          Busy: as many prompts wait as requests may.
          Closed: the service is closing.
        """
        room = self._service.slots + self._service.max_waiting
        if len(self._queries) + len(prompts) > room:
            raise Busy(f"{len(self._queries)} prompts are waiting; try again later")
        queries = [_Query(ids, top) for ids in prompts]
        prefilled: list[RequestState] = []
        try:
            for query in queries:
                if len(query.ids) > STEP_TOKENS:
                    prefilled.append(self._prefill(query))
            # Queued before the call, which runs in the engines' threads and takes what waits by
            # then.
            self._queries.extend(query for query in queries if len(query.ids) <= STEP_TOKENS)
            self._service.share(self._run)
            return await asyncio.gather(*(asyncio.wrap_future(query.future) for query in queries))
        finally:
            for state in prefilled:
                if not state.finished:
                    self._service.cancel(state)

    def _prefill(self, query: _Query) -> RequestState:
        request = Request(
            tuple(query.ids), SamplingParams(1), prompt_top=query.top, is_scored_only=True
        )

        def on_end(event: Event) -> None:
            if not query.future.set_running_or_notify_cancel():  # the client has disconnected
                return
            if event.prompt is not None:
                query.future.set_result(event.prompt)
            elif event.finish_reason == "cancelled":
                query.future.set_exception(Closed("the server is shutting down"))
            else:
                query.future.set_exception(event.cause or RuntimeError("the engine has failed"))

        return self._service.submit(request, on_end)

    def _run(self, engine: Engine, is_alone: bool) -> bool:
        """Scores some of what waits, in an engine's thread; returns whether more waits."""
        budget = TOKEN_BUDGET if is_alone else STEP_TOKENS
        together: list[_Query] = []
        tokens = 0
        with self._taking:
            while self._queries and (not together or tokens + len(self._queries[0].ids) <= budget):
                query = self._queries.popleft()
                if query.future.set_running_or_notify_cancel():  # else the client has disconnected
                    together.append(query)
                    tokens += len(query.ids)
        if together:
            self._score(engine, together, budget)
        return bool(self._queries)

    def _score(self, engine: Engine, together: Sequence[_Query], budget: int) -> None:
        """Scores them in one call, or each alone if that raises: one's error is its own."""
        try:
            # One at least, as their number is another program; see `vcjax.generate.warmup`.
            top = max(1, *(query.top for query in together))
            sequences = [(query.ids, 1) for query in together]
            results = score(engine.graph, engine.params, sequences, top=top, token_budget=budget)
        except Exception as error:
            if len(together) == 1:
                together[0].future.set_exception(error)
            else:
                for query in together:
                    self._score(engine, [query], budget)
            return
        for query, scored in zip(together, results, strict=True):
            tops = tuple(each[: query.top] for each in scored.top) if query.top else ()
            query.future.set_result(replace(scored, top=tops))
