"""What is done around requests that a whole server doesn't let happen."""

import json

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.testclient import TestClient

from vcjax.serve.config import ServeConfig
from vcjax.serve.metrics import Metrics
from vcjax.serve.middleware import Observed
from vcjax.serve.models import Models


def test_an_error_of_the_server_has_an_id_is_counted_and_logged(tiny_folder):
    async def broken(_: Request):
        raise OSError("the disk is gone")

    metrics = Metrics(Models(ServeConfig(models=(str(tiny_folder),))))
    lines: list[str] = []
    observed = Middleware(Observed, metrics=metrics, paths=frozenset({"/a"}), log=lines.append)
    app = Starlette(routes=[Route("/a", broken)], middleware=[observed])
    response = TestClient(app, raise_server_exceptions=False).get("/a")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    (logged,) = map(json.loads, lines)
    assert (logged["status"], logged["id"]) == (500, response.headers["x-request-id"])
    assert 'vcjax_http_requests_total{path="/a",status="500"} 1.0' in metrics.text().decode()
    with pytest.raises(OSError, match="disk"):  # for the server's own log
        TestClient(app).get("/a")
