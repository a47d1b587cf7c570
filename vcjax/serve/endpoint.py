"""A POST endpoint: admits a request, reads and validates it, answers it, and cleans up after it."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from vcjax.core.errors import UserError
from vcjax.generate.service import Busy, Closed
from vcjax.serve.answers import Choice, EventStream, Job, StreamedAnswer, check_end
from vcjax.serve.config import ServeConfig
from vcjax.serve.continuations import MAX_SCORES, Continuations, Update
from vcjax.serve.errors import ApiError, api_error, timed_out
from vcjax.serve.metrics import Metrics
from vcjax.serve.models import Models, Served
from vcjax.serve.protocol import ChatRequest, CompletionRequest

Body = ChatRequest | CompletionRequest
MakeJob = Callable[[Any, Served, ServeConfig], Job]
T = TypeVar("T")
JOB = "vcjax.job"
"""The key of an ASGI scope under which the job is, for the access log."""
PREPARING = 2 if (os.cpu_count() or 1) > 2 else 1
"""Requests that are turned into jobs at the same time. Parsing and validation hold the
interpreter's lock, for which a step of the engine would wait the longer the more of them there are;
and a constraint takes a core to itself for up to 0.1 s, of which a step on a CPU needs one as
well."""
TURNS = PREPARING + 1
"""Requests that are given to those threads at once: so no thread waits for the event loop. That
answers all that are ready before it comes to the next tokens of the streams; of a crowd's, these
are so many at most."""
MOST_SCORES = 16 * MAX_SCORES
"""Of all open requests: half a gigabyte."""


class Gate:
    """Limits the number of open requests and the memory of their scores, and admits none once the
    server is closing."""

    def __init__(self, limit: int) -> None:
        self.limit, self.open, self.scores, self.closing = limit, 0, 0, False

    def close(self) -> None:
        """Admits none from now on."""
        self.closing = True

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Raises: Busy, Closed."""
        if self.closing:
            raise Closed("the server is shutting down")
        if self.open >= self.limit:
            raise Busy(f"{self.open} requests are under way; try again later")
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    @contextmanager
    def reserve(self, scores: int) -> Iterator[None]:
        """Counts log-probabilities of prompts while an answer has them. Raises: Busy."""
        if self.scores + scores > MOST_SCORES:
            raise Busy("too many prompts are being scored; try again later")
        self.scores += scores
        try:
            yield
        finally:
            self.scores -= scores


class Preparation:
    """The threads in which requests become jobs."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(PREPARING, "request")
        self._turn = asyncio.Semaphore(TURNS)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function in one of the threads, once it is its turn."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, function, *arguments)


class Endpoint:
    """An ASGI application for one kind of request."""

    def __init__(
        self,
        body_class: type[Body],
        make_job: MakeJob,
        *,
        models: Models,
        config: ServeConfig,
        gate: Gate,
        metrics: Metrics,
        preparation: Preparation,
    ) -> None:
        self._preparation = preparation
        self._body_class, self._make_job = body_class, make_job
        self._models, self._config, self._gate, self._metrics = models, config, gate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises: ApiError where nothing has been sent yet."""
        limit, out = self._config.timeout_s, EventStream(send)
        streamed: StreamedAnswer | None = None
        try:
            async with asyncio.timeout(limit):
                with self._gate.admit():
                    body = await read_body(Request(scope, receive), self._config.max_body)
                    # In a thread: a large schema takes long to validate and compile.
                    job = await self._preparation.run(self._job, body)
                    del body  # may be megabytes, and the answer takes long
                    scope[JOB] = job
                    with self._gate.reserve(job.scores):
                        if job.stream:
                            streamed = StreamedAnswer(job, out)
                            await until_disconnect(receive, self._stream(job, streamed))
                            return
                        answer = await until_disconnect(receive, self._whole(job))
            # Beyond the time limit: once a part of it is sent, no error can take its place.
            await JSONResponse(answer)(scope, receive, send)
        except ClientDisconnect:
            self._metrics.disconnects.inc()
        except TimeoutError:
            if streamed is None or not out.started:
                raise timed_out(limit) from None
            # Its status is sent, so the answer ends as one that was cut off.
            with suppress(TimeoutError):  # the client may not read any more
                async with asyncio.timeout(1):
                    await streamed.end()
        except (ApiError, UserError, ValidationError, Busy, Closed) as error:
            # No local variable has the refusal: it would be in a frame that its own traceback has,
            # and that circle would keep the request's body.
            if not out.started:
                raise api_error(error, self._body_class.model_fields) from None
            await out.fail(api_error(error, self._body_class.model_fields))

    def _job(self, body: bytes) -> Job:
        valid = self._body_class.model_validate_json(body)
        return self._make_job(valid, self._models.named(valid.model), self._config)

    async def _whole(self, job: Job) -> dict[str, Any]:
        await job.format.prepare()
        choices, alternatives = [Choice() for _ in range(job.count)], 0
        with (
            self._metrics.first_token() as on_tokens,
            Continuations(job.loaded.service, job.submissions) as continuations,
        ):
            async for updates in continuations:
                on_tokens()
                taken = 0
                while taken < len(updates) and alternatives <= MAX_SCORES:
                    choices[updates[taken].index].add(updates[taken])
                    alternatives += len(updates[taken].event.top)
                    taken += 1
                self._count(job, updates[:taken], continuations)
                if alternatives > MAX_SCORES:
                    break  # leaving the context cancels what is under way
        for choice in choices:
            if choice.events:
                check_end(choice.events[-1])
            # Prompts that are only scored, and what was cut off.
            choice.finish_reason = choice.finish_reason or "length"
        return await asyncio.to_thread(job.whole, choices)

    async def _stream(self, job: Job, streamed: StreamedAnswer) -> None:
        await job.format.prepare()
        with (
            self._metrics.first_token() as on_tokens,
            Continuations(job.loaded.service, job.submissions) as continuations,
        ):
            async for updates in continuations:
                on_tokens()
                self._count(job, updates, continuations)
                await streamed.send(updates)
        await streamed.end()

    def _count(self, job: Job, updates: Sequence[Update], continuations: Continuations) -> None:
        job.completion_tokens += sum(update.event.token is not None for update in updates)
        job.cached_tokens = continuations.pooled_tokens(job.choices_each)
        for update in updates:
            if update.seconds is not None:
                self._metrics.between_tokens.observe(update.seconds)


async def read_body(request: Request, limit: int) -> bytes:
    """The JSON body of a request. The length that a client declares isn't relied on.

    To require the media type keeps web pages of other origins from posting here: a browser sends it
    for them only after a preflight request, which this server doesn't answer.

    Raises:
      ApiError: another media type, or more than `limit` bytes.
      ClientDisconnect: the client closed the connection.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        message = f"send the body as Content-Type: application/json, not {media or 'without one'}"
        raise ApiError(415, message, code="unsupported_media_type")
    declared = request.headers.get("content-length", "0")
    parts, size = [], 0
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    # Chunked bodies declare no length, and others may declare a wrong one.
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> ApiError:
    message = f"the body is larger than this server's bound of {limit:,} bytes"
    return ApiError(413, message, code="request_too_large")


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` to its end, or cancels it once the client has closed the connection.

    Raises:
      ClientDisconnect: it has.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        # Both, also where the time limit has cancelled this, and awaited: as it ends, a cancelled
        # `work` frees its slots of the engine.
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)
        del task, gone  # an exception of theirs has this frame, which would have it


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
