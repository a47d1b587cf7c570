"""The server's memory after many requests, some of which are garbage or are given up."""

from tests.serve.conftest import server
from tests.serve.soak import soak
from tests.serve.test_crowd import crowd

# Fixtures.
__all__ = ["crowd", "server"]


def test_memory_stays_as_it_is_over_many_requests(crowd):
    """A request that left the logits of its 24 steps behind would take 70 kB, one that left 128
    positions of a cache 32 kB.

    Of a typical hundred, as a program that the server compiles now and then takes 8 to 12 MiB, and
    stays: three of them among 512 requests were as much as a leak of 70 kB by each.
    """
    crowd.compile()
    soak(crowd, 200)
    assert soak(crowd, 700) < 32 * 1024
