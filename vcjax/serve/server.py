"""The server: its addresses as an ASGI application, and its process from start to a clean end."""

import hmac
import ipaddress
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vcjax.core.errors import UserError
from vcjax.serve.chat import chat_job
from vcjax.serve.completions import completion_job
from vcjax.serve.config import ServeConfig
from vcjax.serve.endpoint import Endpoint, Gate
from vcjax.serve.errors import RETRY_AFTER, ApiError, api_error
from vcjax.serve.metrics import Metrics
from vcjax.serve.models import Models, Served
from vcjax.serve.protocol import ChatRequest, CompletionRequest

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_WITHOUT_KEY = "/health"
"""Needs no API key: it is for whatever supervises the process."""


# ---------------------------------------------------------------------------------------- process


def serve(config: ServeConfig) -> bool:
    """Serves until SIGTERM or SIGINT; then it accepts no request and finishes the open ones.

    A second signal ends the process at once.

    Returns:
      Whether the engines have ended. Otherwise the signal came while a model was being loaded or
      compiled, which can't be interrupted and may take minutes; the process must then end without
      the interpreter's finalisation, which would free what that thread is using.

    Raises:
      UserError: a model that can't be found or loaded, or an address that can't be listened at.
    """
    models = Models(config)
    with _listening(config) as listener:
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not config.api_key and not _is_loopback(host):
            _log(f"warning: {address} can be reached from other machines, and asks for no API key")
        gate = Gate(len(models.all) * (config.slots + config.max_waiting))
        server = _Server(
            uvicorn.Config(
                build_app(config, models, gate),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                # A client that doesn't read its answer can't delay the end for longer.
                timeout_graceful_shutdown=int(config.timeout_s) + 5,
            ),
            gate,
        )

        def on_loaded() -> None:
            if models.failure is not None:
                server.should_exit = True
            else:
                _log(f"serving {', '.join(config.model_names)} at {address}/v1")

        with server.ending_on_signals():
            _log(f"listening at {address}, loading {', '.join(config.models)}")
            models.load(on_loaded)
            server.run(sockets=[listener])
    if models.are_loading and models.failure is None:
        return False
    for service in models.services():
        service.close(drain=False)
    if models.failure is not None:
        raise models.failure
    return True


class _Server(uvicorn.Server):
    """Handles signals as documented at `serve`."""

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate

    def capture_signals(self) -> AbstractContextManager[None]:
        """Does nothing: uvicorn's own would raise the signal again at the end."""
        return nullcontext()

    @contextmanager
    def ending_on_signals(self) -> Iterator[None]:
        """Handles signals, from before the server runs."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the end at the first signal; the second one terminates the process."""
        if self._gate.closing:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
        self._gate.closing = self.should_exit = True
        line = f"{signal.Signals(sig).name}: finishing what is under way; once more ends at once\n"
        # Not through `sys.stderr`: the signal may have come while it was being written to, which a
        # buffer refuses ("reentrant call").
        os.write(sys.stderr.fileno(), line.encode())


@contextmanager
def _listening(config: ServeConfig) -> Iterator[socket.socket]:
    """Raises: UserError if the address can't be listened at."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host={config.host} --port={config.port}: can't listen there ({error}); "
            "choose another, or --port=0 for any that is free"
        ) from None
    with listener:
        yield listener


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------ application


def build_app(config: ServeConfig, models: Models, gate: Gate) -> Starlette:
    """The ASGI application; whoever ends the server closes the gate."""
    metrics = Metrics(models)

    async def health(_: Request) -> Response:
        status = "draining" if gate.closing else models.status
        is_ready = status == "ready"
        return JSONResponse(
            {
                "status": status,
                "under_way": gate.open,
                "models": {served.name: _load(served) for served in models.all},
            },
            200 if is_ready else 503,
            headers=None if is_ready else RETRY_AFTER,
        )

    async def list_models(_: Request) -> Response:
        data = [_described(served) for served in models.all]
        return JSONResponse({"object": "list", "data": data})

    async def one_model(request: Request) -> Response:
        return JSONResponse(_described(models.named(request.path_params["name"])))

    async def prometheus(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    shared: dict[str, Any] = {
        "models": models,
        "config": config,
        "gate": gate,
        "metrics": metrics,
    }
    chat = Endpoint(ChatRequest, chat_job, **shared)
    completions = Endpoint(CompletionRequest, completion_job, **shared)
    routes = [
        Route("/health", health),
        Route("/metrics", prometheus),
        Route("/v1/models", list_models),
        Route("/v1/models/{name:path}", one_model),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
    ]
    paths = frozenset(route.path for route in routes)
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(_CountResponses, metrics=metrics, paths=paths),
            Middleware(_RequireKey, key=config.api_key),
        ],
        exception_handlers={ApiError: _refuse, HTTPException: _refuse, Exception: _refuse},
    )


async def _refuse(_: Request, error: Exception) -> Response:
    return api_error(error).response()


def _load(served: Served) -> dict[str, Any]:
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
    model = {"id": served.name, "object": "model", "created": served.created, "owned_by": "vcjax"}
    if served.loaded is not None:
        model["context_length"] = served.loaded.context
    return model


class _RequireKey:
    """Refuses requests without the API key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._key and scope["type"] == "http" and scope["path"] != _WITHOUT_KEY:
            given = Headers(scope=scope).get("authorization", "").removeprefix("Bearer ")
            # In constant time, so that the time of the refusal says nothing about the key.
            if not hmac.compare_digest(given.encode(), self._key):
                headers = {"WWW-Authenticate": "Bearer"}
                message = "the API key is missing or wrong; send Authorization: Bearer KEY"
                error = ApiError(401, message, code="invalid_api_key", headers=headers)
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _CountResponses:
    """Counts responses and their time."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # One label for every other path: clients must not be able to make new time series.
        path = scope["path"] if scope["path"] in self._paths else "other"
        start = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.responses.labels(path, str(message["status"])).inc()
            await send(message)

        with self._metrics.open.track_inprogress():
            try:
                await self._app(scope, receive, counted)
            finally:
                self._metrics.seconds.labels(path).observe(time.perf_counter() - start)
