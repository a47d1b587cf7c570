"""The server: its addresses as an ASGI application, and its process from start to a clean end."""

import sys
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vcjax.generate.room import USUAL_SLOTS
from vcjax.serve.chat import chat_job
from vcjax.serve.completions import completion_job
from vcjax.serve.config import ServeConfig
from vcjax.serve.endpoint import Endpoint, Gate, Preparation
from vcjax.serve.errors import RETRY_AFTER, ApiError, api_error
from vcjax.serve.listening import SignalledServer, address_of, is_loopback, listening
from vcjax.serve.metrics import Metrics
from vcjax.serve.middleware import Observed, RequireKey
from vcjax.serve.models import Models, Served
from vcjax.serve.protocol import ChatRequest, CompletionRequest

_WITHOUT_KEY = "/health"
"""Needs no API key: it is for whatever supervises the process."""
_SWITCH_SECONDS = 0.0005
"""After which who waits for the interpreter's lock is given it. In a step the engine's thread gives
it away several times, and would wait for the usual 5 ms each time where others compute."""


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
    sys.setswitchinterval(_SWITCH_SECONDS)
    models = Models(config)
    with listening(config.host, config.port) as listener:
        address = address_of(listener)
        if not config.api_key and not is_loopback(listener):
            _log(f"warning: {address} can be reached from other machines, and asks for no API key")
        # Until the models are loaded, as nobody knows how many slots they will have.
        gate = Gate(len(models.all) * (USUAL_SLOTS + config.max_waiting))
        # Longer than a request may take: by then each is finished or has its 504.
        app, grace = build_app(config, models, gate), int(config.timeout_s) + 5
        server = SignalledServer(app, grace, gate.close)

        def on_loaded() -> None:
            if models.failure is not None:
                server.should_exit = True
            else:
                gate.limit = models.room
                _log(f"serving {', '.join(config.model_names)} at {address}/v1")

        with server.ending_on_signals():
            _log(f"listening at {address}, loading {', '.join(config.models)}")
            models.load(on_loaded, _log)
            server.run(sockets=[listener])
    if models.are_loading and models.failure is None:
        return False
    for service in models.services():
        service.close(drain=False)
    if models.failure is not None:
        raise models.failure
    return True


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------ application


def build_app(config: ServeConfig, models: Models, gate: Gate) -> Starlette:
    """The ASGI application; whoever ends the server closes the gate."""
    metrics = Metrics(models)
    log = _log if config.access_log else None

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
        "preparation": Preparation(),
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
        # The outermost first: refused keys are counted too.
        middleware=[
            Middleware(Observed, metrics=metrics, paths=paths, log=log),
            Middleware(RequireKey, key=config.api_key, free=frozenset({_WITHOUT_KEY})),
        ],
        exception_handlers={ApiError: _refuse, HTTPException: _refuse},
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
