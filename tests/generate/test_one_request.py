"""An exception caused by one request ends that request alone; the others aren't affected."""

from dataclasses import replace
from queue import Queue

import numpy as np
import pytest

from tests.tiny import EOS_IDS
from vcjax.core.seeds import derive_seed
from vcjax.generate.cache import DecodeState
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.service import Service


class Panic(BaseException):
    """As what the bindings of a library of Rust's raise, which is no Exception."""


class Breaking:
    """A constraint and a stopping criterion that allow every token and break at the third."""

    def __init__(self, where: str, error: BaseException) -> None:
        self.where, self.error, self.accepted = where, error, 0

    def mask(self) -> np.ndarray:
        if self.where == "mask" and self.accepted == 3:
            raise self.error
        return np.full((23,), 0xFFFFFFFF, np.uint32)

    def accept(self, token: int) -> bool:
        self.accepted += 1
        if self.where == "accept" and self.accepted == 3:
            raise self.error
        return False


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(100, 700, length).tolist())


def out_of_bounds(request: Request, **changes) -> Request:
    """A request that was not checked, as if there were no bound for a setting."""
    sampling = replace(request.sampling)
    for name, value in changes.items():
        object.__setattr__(sampling, name, value)
    return replace(request, sampling=sampling)


NO_EOS = {token: -100.0 for token in EOS_IDS}
PLAIN = Request(prompt(9, 70), SamplingParams(8, temperature=1.0, seed=9))
BAD = {
    "its setting overflows": lambda: out_of_bounds(PLAIN, top_k=3_000_000_000),
    "its mask": lambda: replace(PLAIN, constraint=Breaking("mask", ValueError("mask"))),
    "its constraint": lambda: replace(PLAIN, constraint=Breaking("accept", KeyError("next"))),
    "its stopping": lambda: replace(PLAIN, stopping=Breaking("accept", MemoryError("stop"))),
    "a panic": lambda: replace(PLAIN, stopping=Breaking("accept", Panic("unwrap on None"))),
}
NEIGHBOURS = [
    Request(prompt(1, 40), SamplingParams(30, temperature=1.0, seed=1), eos_ids=EOS_IDS),
    Request(prompt(2, 5), SamplingParams(40)),
    Request(prompt(3, 17), SamplingParams(35, temperature=0.7, top_k=20, top_p=0.9, seed=3)),
]


@pytest.fixture(scope="module")
def alone(engine):
    """What the neighbours get with nobody else there."""
    return [engine.generate([request])[0] for request in NEIGHBOURS]


@pytest.fixture(scope="module")
def service(tiny):
    """Without a pool, which would cut a prompt into other chunks the second time."""
    with Service(Engine(tiny.config, tiny.params, slots=4, prefix_tokens=0)) as service:
        yield service


def start(service: Service, request: Request, listener=None) -> Queue:
    """Submits a request; its events come in the queue, from its listener if it has one."""
    events: Queue = Queue()

    def listen(event):
        events.put(event)
        if listener is not None:
            listener(event)

    service.submit(request, listen)
    return events


def rest(events: Queue) -> list:
    received = [events.get(timeout=60)]
    while received[-1].finish_reason is None:
        received.append(events.get(timeout=60))
    return received


def assert_undisturbed(service, bad, alone, listener=None) -> None:
    """The neighbours get what they get alone, to the bit; the bad one ends with an error."""
    before = service.errors
    first = start(service, NEIGHBOURS[0])
    started = first.get(timeout=60)  # it is decoding when the bad one comes
    asked = [start(service, bad, listener), *(start(service, one) for one in NEIGHBOURS[1:])]
    ended, *others = [rest(events) for events in asked]
    assert ended[-1].finish_reason == "error"
    for received, result in zip([[started, *rest(first)], *others], alone, strict=True):
        made = [event for event in received if event.token is not None]
        assert tuple(event.token for event in made) == result.tokens
        assert tuple(event.logprob for event in made) == result.logprobs
    assert service.errors == before + 1


@pytest.mark.parametrize("kind", BAD)
def test_the_others_get_what_they_get_alone(service, alone, kind):
    assert_undisturbed(service, BAD[kind](), alone)


def test_a_listener_that_raises_harms_itself(service, alone):
    def broken(event):
        if event.finish_reason is None:
            raise RuntimeError("the event loop is closed")

    assert_undisturbed(service, PLAIN, alone, broken)


def test_a_listener_that_raises_at_its_end_harms_nobody(service):
    before = service.errors
    events = start(service, replace(PLAIN, sampling=SamplingParams(1)), lambda event: 1 // 0)
    assert events.get(timeout=60).finish_reason == "length"
    assert rest(start(service, NEIGHBOURS[1]))[-1].finish_reason == "length"
    assert service.errors == before + 1


def test_a_request_for_which_the_cache_cannot_grow_ends_and_the_others_continue(
    service, alone, monkeypatch
):
    fit = DecodeState.fit

    def bounded(state: DecodeState, need: int, *, empty: bool) -> None:
        if need > 256:
            raise MemoryError("RESOURCE_EXHAUSTED")
        fit(state, need, empty=empty)

    monkeypatch.setattr(DecodeState, "fit", bounded)
    assert_undisturbed(service, Request(prompt(8, 600), SamplingParams(4)), alone)


def test_a_prefix_that_could_not_be_kept_is_not_found_by_the_next(tiny, monkeypatch):
    whole = Request(prompt(7, 100), SamplingParams(6))
    own = Engine(tiny.config, tiny.params, slots=2)
    (expected,) = own.generate([whole])
    own = Engine(tiny.config, tiny.params, slots=2)
    with monkeypatch.context() as patch:
        patch.setattr(DecodeState, "store_prefix", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            own.generate([whole])
    assert own.is_idle
    (again,) = own.generate([whole])
    assert own.stats().pooled_tokens == 0
    assert again == expected


def test_the_caller_of_an_engine_gets_what_was_raised_on_its_behalf(engine):
    with pytest.raises(MemoryError, match="stop"):
        engine.generate([NEIGHBOURS[0], BAD["its stopping"]()])
    assert engine.is_idle


def test_a_stop_string_within_min_tokens_leaves_the_text_whole(text_engine):
    whole = SamplingParams(20, temperature=1.0, seed=3, min_tokens=20)
    (free,) = text_engine.generate(["So,"], whole)
    stop = next(c for c in free[:-1] if c.isalpha() and free.count(c) == 1)
    early = replace(whole, stop=(stop,))
    assert text_engine.generate(["So,"], early) == [free]
    own_seed = replace(early, seed=derive_seed(early.seed, 0))
    assert "".join(text_engine.stream("So,", own_seed)) == free
    (cut,) = text_engine.generate(["So,"], replace(early, min_tokens=0, logit_bias=NO_EOS))
    assert cut == free.partition(stop)[0]
