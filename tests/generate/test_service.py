"""An engine in a thread: any thread may submit requests, and no caller harms another."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import numpy as np
import pytest

from vcjax.core.errors import UserError
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.service import Busy, Closed, Service


@pytest.fixture
def own_engine(tiny) -> Engine:
    return Engine(tiny.config, tiny.params, slots=4, step_tokens=64)


def request(seed: int, tokens: int = 12) -> Request:
    ids = np.random.default_rng(seed).integers(100, 700, 5 + seed).tolist()
    return Request(tuple(ids), SamplingParams(tokens, temperature=1.0, seed=seed))


def collect(service: Service, asked: Request) -> list:
    """Events of a request, up to its end."""
    queue: Queue = Queue()
    service.submit(asked, queue.put)
    events = [queue.get(timeout=60)]
    while events[-1].finish_reason is None:
        events.append(queue.get(timeout=60))
    return events


def test_many_threads_get_what_each_would_get_alone(own_engine, engine):
    asked = [request(seed) for seed in range(12)]
    with Service(own_engine) as service, ThreadPoolExecutor(12) as threads:
        collected = list(threads.map(lambda one: collect(service, one), asked))
    for events, result in zip(collected, engine.generate(asked), strict=True):
        assert tuple(event.token for event in events) == result.tokens


def test_requests_beyond_the_queue_are_refused_and_room_comes_back(own_engine):
    with Service(own_engine, max_waiting=1) as service:
        ended: Queue = Queue()
        on_event = lambda event: event.finish_reason and ended.put(event)  # noqa: E731
        states = [service.submit(request(seed, 500), on_event) for seed in range(5)]
        with pytest.raises(Busy, match="1 requests are waiting"):
            service.submit(request(9), on_event)
        for state in states:
            service.cancel(state)
        assert [ended.get(timeout=60).finish_reason for _ in states] == ["cancelled"] * 5
        assert collect(service, request(1))[-1].finish_reason == "length"


def test_a_cancelled_request_frees_its_slot_for_the_next(own_engine):
    with Service(own_engine) as service:
        started, ended = threading.Event(), threading.Event()

        def on_event(event):
            started.set()
            if event.finish_reason == "cancelled":
                ended.set()

        state = service.submit(request(1, 3000), on_event)
        assert started.wait(60)
        service.cancel(state)
        assert ended.wait(60)
        assert service.stats().decoding == 0
        service.cancel(state)  # again: nothing happens


def test_long_work_is_done_in_pieces_with_steps_between_them(own_engine):
    pieces: list[tuple[int, bool]] = []
    began, done = threading.Event(), threading.Event()

    def work(engine: Engine, is_alone: bool) -> bool:
        assert engine is own_engine
        pieces.append((service.stats().steps, is_alone))
        if len(pieces) < 8:
            return True
        done.set()
        return False

    with Service(own_engine) as service:
        state = service.submit(request(1, 2000), lambda event: began.set())
        assert began.wait(60)
        service.share(work)
        assert done.wait(60)
        steps, alone = zip(*pieces, strict=True)
        assert list(steps) == list(range(steps[0], steps[0] + 8))
        assert not any(alone)
        service.cancel(state)
        done.clear()
        service.share(work)
        assert done.wait(60)
        assert pieces[-1][1]


def test_what_has_ended_is_freed_without_the_garbage_collector(own_engine):
    class Listener:
        def __call__(self, event) -> None:
            if event.finish_reason:
                ended.put(event)

    ended: Queue = Queue()
    gc.disable()
    try:
        with Service(own_engine) as service:
            listener = Listener()
            left = [weakref.ref(listener), weakref.ref(service.submit(request(1), listener))]
            del listener
            assert ended.get(timeout=60).finish_reason == "length"
            collect(service, request(2))  # the engine's thread has taken another step
            assert [each() for each in left] == [None, None]
    finally:
        gc.enable()


def test_closing_with_drain_finishes_what_is_under_way(own_engine):
    service = Service(own_engine)
    ended: Queue = Queue()
    for seed in range(6):
        service.submit(request(seed), lambda event: event.finish_reason and ended.put(event))
    service.close(drain=True)
    assert [ended.get(timeout=1).finish_reason for _ in range(6)] == ["length"] * 6
    with pytest.raises(Closed):
        service.submit(request(1), lambda event: None)


def test_a_request_that_does_not_fit_is_refused_at_once(own_engine):
    with Service(own_engine) as service, pytest.raises(UserError, match="don't fit"):
        service.submit(Request((1,) * 4000, SamplingParams(97)), lambda event: None)


def test_a_step_that_fails_ends_what_was_under_way_and_the_next_request_is_served(own_engine):
    with Service(own_engine) as service:

        class Broken:
            def accept(self, token: int) -> bool:
                raise MemoryError("out of memory")

        broken = Request((1, 2, 3), SamplingParams(5), stopping=Broken())
        assert collect(service, broken)[-1].finish_reason == "error"
        assert service.errors == 1
        assert collect(service, request(1))[-1].finish_reason == "length"
