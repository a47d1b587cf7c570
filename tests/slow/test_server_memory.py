"""The server's memory after many requests, some of which are garbage or are given up."""

from concurrent.futures import ThreadPoolExecutor

from tests.serve.conftest import server
from tests.serve.test_crowd import crowd

# Fixtures.
__all__ = ["crowd", "server"]


def test_memory_stays_as_it_is_over_many_requests(crowd):
    """A request that left the logits of its 24 steps behind would take 70 kB, one that left 128
    positions of a cache 32 kB. `tests/serve/soak.py` sends 2,000 requests and more."""

    def ask(count: int) -> None:
        with ThreadPoolExecutor(64) as clients:
            assert all(outcome is not None for outcome in clients.map(crowd.client, range(count)))

    crowd.compile()
    ask(256)
    before = crowd.resident()
    ask(512)
    assert crowd.resident() - before < 512 * 32 * 1024
