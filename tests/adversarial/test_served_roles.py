"""Attacker and Critic behind `launch.serve`, the Actor in the run's own process."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.adversarial.test_synthesize import config  # noqa: F401  (a fixture)
from tests.serve.servers import Server
from vcjax.adversarial.run import synthesize


@pytest.fixture(scope="module")
def server(tiny_folder, script_cache) -> Iterator[Server]:
    running = Server.start(tiny_folder, script_cache, ["--slots=4"]).wait_ready()
    yield running
    running.process.kill()
    running.process.communicate()


def test_a_run_goes_through_with_roles_on_a_server(server, config, tmp_path):  # noqa: F811
    endpoint = f"{server.address}#tiny"
    served = replace(config, attacker=endpoint, critic=endpoint)
    summary = synthesize(served, tmp_path / "run")
    assert summary["critic"] == endpoint
    assert summary["attempts"] == 8
    assert summary["accepted"] > 0
    # The tiny model says nothing at all now and then, which an endpoint is not to do.
    assert set(summary["reasons"]["unscored"]) <= {"attacker: empty"}
    models = {row["role"]: (row["model"], row["failed"]) for row in summary["usage"]}
    assert models["critic"] == (endpoint, 0)
    assert models["attacker"][0] == endpoint
    assert models["actor"] == (config.actor, 0)
