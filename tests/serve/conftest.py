"""One server for most tests."""

from collections.abc import Callable, Iterator

import openai
import pytest

from tests.serve.servers import KEY, Server


@pytest.fixture(scope="session")
def server(tiny_folder, script_cache) -> Iterator[Server]:
    """Asks for a key; four slots, fewer than most tests' requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_KEY", KEY)
        flags = ["--slots=4", "--max_waiting=200", "--max_body_mb=1", "--api_key_env=TINY_KEY"]
        flags += ["--max_tokens=3000", "--access_log"]
        server = Server.start(tiny_folder, script_cache, flags)
    yield server.wait_ready()
    assert server.stop() == 0


@pytest.fixture(scope="session")
def client(server: Server) -> openai.OpenAI:
    return server.client()


@pytest.fixture
def start(tiny_folder, script_cache) -> Iterator[Callable[..., Server]]:
    """A function that starts a server of one's own, with flags."""
    servers: list[Server] = []

    def start(*flags: str) -> Server:
        servers.append(Server.start(tiny_folder, script_cache, flags))
        return servers[-1]

    yield start
    for server in servers:  # where a test failed before it ended its server
        server.process.kill()
        server.process.wait()
