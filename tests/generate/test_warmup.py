"""What is compiled ahead: afterwards no request within its bounds waits for the compiler."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vcjax.generate.cache import BLOCK
from vcjax.generate.engine import Engine
from vcjax.generate.layout import ModelLayout
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.scheduler import RequestState
from vcjax.generate.scoring import score
from vcjax.generate.warmup import warm_up_scoring

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compiled() -> Iterator[Callable[[], int]]:
    """A function that returns how many programs have been compiled since the test began."""
    events: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield lambda: events.count(COMPILED)
    jax.monitoring.unregister_event_duration_listener(listen)


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(100, 700, length).tolist())


def asked(seed: int, length: int, tokens: int, **settings) -> Request:
    return Request(prompt(seed, length), SamplingParams(tokens, seed=seed, **settings))


def test_after_a_warm_up_requests_of_every_kind_compile_nothing(tiny, compiled):
    options = {"slots": 2, "context": 256, "part": 128, "row_buckets": True}
    engine = Engine(tiny.config, tiny.params, **options)
    windows: list[int] = []
    engine.warm_up(1000, windows.append)  # the context bounds it
    assert windows == [128, 192, 256]
    before = compiled()
    assert before > 2 * len(windows)
    shared = prompt(9, 2 * BLOCK + 1)
    results = engine.generate(
        [
            asked(1, 5, 2),
            asked(2, 200, 8, temperature=1.0, top_p=0.5, top_logprobs=3),  # the cache grows
            asked(3, 5, 80, repetition_penalty=2.0, logit_bias={150: 1.0}),  # and shrinks
            asked(4, 100, 3, min_tokens=3, top_k=4),
            Request((*shared, 150), SamplingParams(2)),
            Request((*shared, 151, 152), SamplingParams(100)),  # of the pool; grows again
            Request(prompt(5, 150), SamplingParams(2), prompt_top=0),
            Request(prompt(6, 20), SamplingParams(1), prompt_top=20, is_scored_only=True),
        ]
    )
    assert engine.stats().pooled_tokens == 2 * BLOCK
    assert [result.finish_reason for result in results] == ["length"] * 8
    assert compiled() == before
    cold = Engine(tiny.config, tiny.params, **options)
    assert cold.generate([asked(2, 200, 8)]) == engine.generate([asked(2, 200, 8)])


def test_after_a_warm_up_an_engine_with_pages_compiles_nothing(tiny, compiled):
    engine = Engine(
        tiny.config, tiny.params, slots=3, context=320, part=64, pages=True, pool_tokens=640
    )
    lengths: list[int] = []
    engine.warm_up(1000, lengths.append)
    assert lengths == [320]
    before = compiled()
    assert before > 3
    shared = prompt(9, 2 * BLOCK + 1)
    engine.generate(
        [
            asked(1, 5, 2),
            asked(2, 200, 8, temperature=1.0, top_p=0.5, top_logprobs=3),
            asked(3, 5, 80, repetition_penalty=2.0, logit_bias={150: 1.0}),
            asked(4, 100, 3, min_tokens=3, top_k=4),
            Request((*shared, 150), SamplingParams(2)),
            Request((*shared, 151, 152), SamplingParams(100)),
            Request(prompt(5, 150), SamplingParams(2), prompt_top=0),
            Request(prompt(6, 20), SamplingParams(1), prompt_top=20, is_scored_only=True),
        ]
    )
    assert engine.stats().pooled_tokens == 2 * BLOCK
    assert compiled() == before


def test_a_warm_up_leaves_no_prefix_behind_and_refuses_to_disturb_a_request(tiny):
    engine = Engine(tiny.config, tiny.params, slots=2, context=128, part=128)
    request = asked(1, 2 * BLOCK - 8, 3)
    first = engine.generate([request])
    engine.warm_up(128)
    assert engine.generate([request]) == first
    assert engine.stats().pooled_tokens == 0
    engine.enqueue(state := RequestState(0, request, lambda _: None))
    with pytest.raises(RuntimeError, match="under way"):
        engine.warm_up(128)
    engine.cancel(state)


def test_after_a_warm_up_texts_are_scored_without_compiling(tiny, compiled):
    # Of a shape of its own: other tests of this process compile what texts of the tiny model need.
    config = replace(tiny.config, max_position=1000)
    layout = ModelLayout(config, jnp.dtype("float32"))
    graph, params = layout.graph, layout.apply(tiny.params)
    warm_up_scoring(graph, config, params, 64)
    before = compiled()
    assert before >= 1
    start = prompt(1, 20)
    apart = [(prompt(2, 10), 1)]
    together = [((*start, 150), 1), ((*start, 151, 152), 20)]
    for sequences in (apart, together):
        for top in (1, 20):
            results = score(graph, params, sequences, top=top, token_budget=64)
            assert all(len(each.top[0]) == top for each in results)
    assert compiled() == before
