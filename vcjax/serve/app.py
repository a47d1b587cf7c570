"""The server as an ASGI application: addresses, keys, errors, counts."""

import hmac
import time
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vcjax.serve.chat import chat_job
from vcjax.serve.completions import completion_job
from vcjax.serve.config import ServeConfig
from vcjax.serve.errors import RETRY_AFTER, ApiError, api_error
from vcjax.serve.exchange import Exchange
from vcjax.serve.fields import ChatRequest, CompletionRequest
from vcjax.serve.http import Gate
from vcjax.serve.metrics import Metrics
from vcjax.serve.models import Models, Served

_FREE = "/health"
"""Needs no key: it is for whoever watches over the process."""


def build_app(config: ServeConfig, models: Models, gate: Gate) -> Starlette:
    """Args: `gate` is closed by whoever ends the server."""
    metrics = Metrics(models)

    async def health(_: Request) -> Response:
        status = "draining" if gate.closing else models.status
        stats = {served.name: _stats(served) for served in models.all}
        is_ready = status == "ready"
        return JSONResponse(
            {"status": status, "under_way": gate.inside, "models": stats},
            200 if is_ready else 503,
            headers=None if is_ready else RETRY_AFTER,
        )

    async def list_models(_: Request) -> Response:
        data = [_described(served) for served in models.all]
        return JSONResponse({"object": "list", "data": data})

    async def one_model(request: Request) -> Response:
        return JSONResponse(_described(models.named(request.path_params["name"])))

    async def counts(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    shared: dict[str, Any] = {
        "models": models,
        "config": config,
        "gate": gate,
        "metrics": metrics,
    }
    routes = [
        Route("/health", health),
        Route("/metrics", counts),
        Route("/v1/models", list_models),
        Route("/v1/models/{name:path}", one_model),
        Route(
            "/v1/chat/completions",
            Exchange(ChatRequest, chat_job, **shared),
            methods=["POST"],
        ),
        Route(
            "/v1/completions",
            Exchange(CompletionRequest, completion_job, **shared),
            methods=["POST"],
        ),
    ]
    paths = frozenset(route.path for route in routes)
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(_Counted, metrics=metrics, paths=paths),
            Middleware(_Keyed, key=config.api_key),
        ],
        exception_handlers={ApiError: _told, HTTPException: _told, Exception: _told},
    )


async def _told(_: Request, error: Exception) -> Response:
    return api_error(error).response()


def _stats(served: Served) -> dict[str, Any]:
    if served.loaded is None:
        return {"status": served.status}
    stats = served.loaded.service.stats()
    return {
        "status": served.status,
        "slots": stats.slots,
        "decoding": stats.decoding,
        "waiting": stats.waiting,
    }


def _described(served: Served) -> dict[str, Any]:
    told = {"id": served.name, "object": "model", "created": served.created, "owned_by": "vcjax"}
    context = {} if served.loaded is None else {"context_length": served.loaded.context}
    return {**told, **context}


class _Keyed:
    """Lets in who presents the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._key and scope["type"] == "http" and scope["path"] != _FREE:
            given = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._key):
                headers = {"WWW-Authenticate": "Bearer"}
                message = "the API key is missing or wrong; send Authorization: Bearer KEY"
                error = ApiError(401, message, code="invalid_api_key", headers=headers)
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Counted:
    """Counts responses and their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        start = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered.labels(path, str(message["status"])).inc()
            await send(message)

        with self._metrics.open.track_inprogress():
            try:
                await self._app(scope, receive, counted)
            finally:
                self._metrics.seconds.labels(path).observe(time.perf_counter() - start)
