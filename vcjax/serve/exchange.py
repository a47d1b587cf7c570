"""One request for an answer: read, understood, asked of the engine, answered, cleaned up after."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from vcjax.core.errors import UserError
from vcjax.generate.service import Busy, Closed
from vcjax.serve.answers import Answers
from vcjax.serve.choices import Choice, Job, raise_fault
from vcjax.serve.config import ServeConfig
from vcjax.serve.errors import ApiError, api_error, too_late
from vcjax.serve.fields import ChatRequest, CompletionRequest
from vcjax.serve.http import Gate, read_body, unless_gone
from vcjax.serve.metrics import Metrics
from vcjax.serve.models import Models, Served
from vcjax.serve.stream import EventStream, Told

Body = ChatRequest | CompletionRequest
MakeJob = Callable[[Any, Served, ServeConfig], Job]


class Exchange:
    """The endpoint (an ASGI application) of one kind of request."""

    def __init__(
        self,
        body_class: type[Body],
        make_job: MakeJob,
        *,
        models: Models,
        config: ServeConfig,
        gate: Gate,
        metrics: Metrics,
    ) -> None:
        self._body_class, self._make_job = body_class, make_job
        self._models, self._config, self._gate, self._metrics = models, config, gate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises: ApiError where nothing has been sent yet."""
        limit, out = self._config.timeout_s, EventStream(send)
        told: Told | None = None
        try:
            async with asyncio.timeout(limit):
                with self._gate.passed():
                    body = await read_body(Request(scope, receive), self._config.max_body)
                    job = await asyncio.to_thread(self._understand, body)
                    del body
                    if job.stream:
                        told = Told(job, out)
                        await unless_gone(receive, self._stream(job, told))
                        return
                    answer = await unless_gone(receive, self._whole(job))
            await JSONResponse(answer)(scope, receive, send)
        except ClientDisconnect:
            self._metrics.gone.inc()
        except TimeoutError:
            if told is None or not out.started:
                raise too_late(limit) from None
            with suppress(TimeoutError):  # a reader that takes nothing gets nothing
                async with asyncio.timeout(1):
                    await told.end()
        except (ApiError, UserError, ValidationError, Busy, Closed) as error:
            refused = api_error(error, self._body_class.model_fields)
            if not out.started:
                raise refused from None
            await out.fail(refused)

    def _understand(self, body: bytes) -> Job:
        asked = self._body_class.model_validate_json(body)
        return self._make_job(asked, self._models.named(asked.model), self._config)

    async def _whole(self, job: Job) -> dict[str, Any]:
        await job.format.prepare()
        choices = [Choice() for _ in range(job.count)]
        with self._metrics.waiting() as seen, Answers(job.loaded.service, job.asked) as answers:
            async for news in answers:
                seen()
                for one in news:
                    choices[one.index].add(one)
        for choice in choices:
            raise_fault(choice.finish_reason)
            choice.finish_reason = choice.finish_reason or "length"  # where no token was asked for
        return await asyncio.to_thread(job.whole, choices)

    async def _stream(self, job: Job, told: Told) -> None:
        await job.format.prepare()
        with self._metrics.waiting() as seen, Answers(job.loaded.service, job.asked) as answers:
            async for news in answers:
                seen()
                await told.tell(news)
        await told.end()
