"""Several engines behind one queue: each request gets what one engine gives it, and all are asked.

On devices of their own: `tests/slow/test_engine_copies.py`.
"""

import gc
import threading
import weakref
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from tests.distributed.engine_copies import requests as drawn_requests
from vcjax.core.errors import UserError
from vcjax.generate.engine import Engine
from vcjax.generate.fleet import Fleet
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.service import Service


@pytest.fixture
def fleet(tiny) -> Iterator[Fleet]:
    """Three engines of two slots on one device, without pools, which would cut prompts apart."""
    made = [Engine(tiny.config, tiny.params, slots=2, prefix_tokens=0) for _ in range(3)]
    fleet = Fleet(made)
    yield fleet
    fleet.release()


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    """More than all slots together."""
    return drawn_requests(14)


@pytest.fixture(scope="module")
def alone(tiny, requests) -> list:
    return Engine(tiny.config, tiny.params, slots=2, prefix_tokens=0).generate(requests)


def test_each_request_gets_what_one_engine_gives_it_to_the_bit(fleet, requests, alone):
    finished: dict = {}
    assert fleet.generate(requests, finished.__setitem__) == alone
    assert finished == dict(enumerate(alone))
    assert fleet.generate([]) == []
    assert fleet.stats().slots == fleet.slots == 6
    with pytest.raises(UserError, match="don't fit"):
        fleet.generate([*requests, Request((1,) * 4096, SamplingParams(1))])


def test_the_least_loaded_engine_is_given_the_next_request(fleet, requests, alone):
    with Service(fleet) as service:
        service.wait_ready()
        before = [engine.stats().requests for engine in fleet.engines]
        events: SimpleQueue = SimpleQueue()
        with service._changed:  # no engine has finished one before the last has come
            states = [service.submit(one, events.put, n) for n, one in enumerate(requests)]
            assert [worker.open for worker in service._workers] == [2, 2, 2]
            assert service.stats().waiting >= len(requests) - 6
            service.cancel(states[-1])  # it waits: no engine has it
        made: list[list[int]] = [[] for _ in requests]
        reasons = dict.fromkeys(range(len(requests)))
        while None in reasons.values():
            event = events.get(timeout=60)
            made[event.index] += [] if event.token is None else [event.token]
            reasons[event.index] = event.finish_reason
        assert service.is_idle
        counts = [engine.stats().requests for engine in fleet.engines]
    assert reasons.pop(len(requests) - 1) == "cancelled"
    assert set(reasons.values()) == {"length"}
    assert made[:-1] == [list(result.tokens) for result in alone[:-1]]
    assert min(now - then for now, then in zip(counts, before, strict=True)) >= 2


def test_shared_work_is_done_by_every_engine_at_once(fleet):
    together, engines = threading.Barrier(3), []

    def work(engine: Engine, is_alone: bool) -> bool:
        together.wait(60)  # passed only by three threads, in a piece of their own each
        engines.append(engine)
        return False

    with Service(fleet) as service:
        service.share(work)
    assert sorted(map(id, engines)) == sorted(map(id, fleet.engines))


def test_a_caller_that_leaves_or_fails_leaves_the_engines_idle(fleet, requests, alone):
    class Breaks:
        def accept(self, token: int) -> bool:
            raise MemoryError("stop")

    assert next(fleet.events(requests)).index in range(len(requests))
    assert fleet.is_idle
    assert all(engine.is_idle for engine in fleet.engines)
    with pytest.raises(MemoryError, match="stop"):
        fleet.generate([*requests, Request((5,), SamplingParams(4), stopping=Breaks())])
    assert fleet.is_idle
    fleet.release()
    assert fleet.generate(requests[:2]) == alone[:2]


def test_whoever_forgets_a_fleet_frees_its_engines(tiny, requests):
    before = threading.active_count()
    made = [Engine(tiny.config, tiny.params, slots=2, prefix_tokens=0) for _ in range(2)]
    fleet, engines = Fleet(made), [weakref.ref(engine) for engine in made]
    fleet.generate(requests[:4])
    assert threading.active_count() == before + 2
    gc.disable()  # it would come by too late
    try:
        del made, fleet
        assert threading.active_count() == before
        assert [engine() for engine in engines] == [None, None]
    finally:
        gc.enable()
