"""An engine whose cache has pages gives what one with rows gives, in less memory."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.generate.transfers import recorded_transfers
from tests.tiny import EOS_IDS
from vcjax.core.errors import UserError
from vcjax.generate.engine import Engine
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.requests import Request, SamplingParams
from vcjax.generate.room import Room
from vcjax.generate.scheduler import RequestState
from vcjax.model.attention.paged import PAGE, check_pages
from vcjax.model.build import NAMED
from vcjax.parallel import abstract_mesh

POOL = 16 * PAGE


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(100, 700, length).tolist())


def same(results, others):
    for result, other in zip(results, others, strict=True):
        assert (result.tokens, result.finish_reason) == (other.tokens, other.finish_reason)
        np.testing.assert_allclose(result.logprobs, other.logprobs, atol=2e-5)


@pytest.fixture(scope="module")
def paged(tiny) -> Engine:
    return Engine(tiny.config, tiny.params, slots=8, pages=True, pool_tokens=POOL, part=64)


@pytest.fixture
def empty(paged) -> Engine:
    """The same engine, with nothing kept of earlier tests."""
    paged.load(paged.params)
    return paged


def gives_all_pages(engine: Engine) -> bool:
    """Whether a request that needs every page gets them now, as nobody else has one."""
    state = RequestState(0, Request(prompt(9, POOL - 1), SamplingParams(1)), lambda event: None)
    engine.enqueue(state)
    engine.scheduler.admit()
    has_slot = state.slot is not None
    engine.cancel(state)
    return has_slot


def bytes_beside(known: list[jax.Array]) -> int:
    """Bytes of all arrays of this process but those."""
    gc.collect()
    numbers = {id(each) for each in known}
    return sum(each.nbytes for each in jax.live_arrays() if id(each) not in numbers)


@pytest.fixture(scope="module")
def mixed() -> list[Request]:
    """Of all lengths and settings; some start alike, and one is longer than all others together."""
    shared = prompt(1, 2 * PAGE + 5)
    busy = SamplingParams(
        9, temperature=1.0, seed=3, repetition_penalty=1.2, logit_bias={5: -1.0}, top_logprobs=2
    )
    return [
        Request(prompt(2, 5), SamplingParams(12), eos_ids=EOS_IDS),
        Request((*shared, 150), SamplingParams(9, temperature=1.0, seed=2)),
        Request(prompt(3, 1), busy),
        Request(prompt(4, 330), SamplingParams(40)),
        Request((*shared, 151, 152), SamplingParams(30)),
        Request(prompt(5, PAGE), SamplingParams(2 * PAGE, temperature=0.7, top_k=20, seed=5)),
        Request(prompt(6, PAGE - 1), SamplingParams(3, min_tokens=3), eos_ids=EOS_IDS),
        *(Request(prompt(n, 20), SamplingParams(4)) for n in range(10, 16)),
    ]


@pytest.fixture(scope="module")
def of_rows(engine, mixed):
    return engine.generate(mixed)


def test_pages_give_the_tokens_of_rows_in_any_order(empty, mixed, of_rows):
    same(empty.generate(mixed), of_rows)
    assert empty.stats().pooled_tokens == 2 * PAGE
    # In pages that were freed, some of which prefixes are still in.
    same(empty.generate(mixed[::-1]), of_rows[::-1])
    assert empty.stats().pooled_tokens > 2 * PAGE
    assert gives_all_pages(empty)


def test_prompts_ride_along_with_requests_that_decode(empty, mixed, of_rows):
    """One comes each time that another has made a token, so that most are in their midst."""
    ended, waiting = {}, list(enumerate(mixed))

    def start() -> None:
        index, request = waiting.pop(0)
        made = []
        state = RequestState(
            index, request, lambda event: ended.setdefault(index, made).append(event)
        )
        empty.enqueue(state)

    while len(ended) < len(mixed) or not empty.is_idle:
        if waiting:
            start()
        empty.step()
    for index, result in enumerate(of_rows):
        tokens = tuple(event.token for event in ended[index] if event.token is not None)
        assert tokens == result.tokens


def test_a_prefix_is_in_memory_once_for_all_that_share_it(empty):
    """Of 16 pages the first takes nine, and each of seven others the one that is its own."""
    shared, decoding = prompt(7, 8 * PAGE), 0
    before = empty.stats().pooled_tokens
    asked = [Request((*shared, 200 + n), SamplingParams(20)) for n in range(8)]
    for _ in empty.events(asked):
        decoding = max(decoding, empty.stats().decoding)
    assert decoding == 8
    assert empty.stats().pooled_tokens - before == 7 * 8 * PAGE


def test_scores_of_a_prompt_are_those_of_rows(empty, engine):
    def scores(of: Engine):
        events = []
        for n, top in enumerate((0, 3)):
            request = Request(
                prompt(8, 150), SamplingParams(1), prompt_top=top, is_scored_only=True
            )
            of.enqueue(RequestState(n, request, events.append))
        while of.step():
            pass
        return [event.prompt for event in sorted(events, key=lambda event: event.index)]

    for found, expected in zip(scores(empty), scores(engine), strict=True):
        np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=2e-5)
        assert found.ranks == expected.ranks
        assert [[t for t, _ in top] for top in found.top] == [
            [t for t, _ in top] for top in expected.top
        ]


def test_memory_is_what_was_planned_and_a_long_prompt_takes_no_more(empty, tiny):
    short, long = (
        Request(prompt(n, size), SamplingParams(3)) for n, size in ((1, 5), (2, POOL - 3))
    )
    empty.generate([short, long])  # what is uploaded once stays
    empty.release()
    gc.collect()
    before = jax.live_arrays()
    for request in (short, long):
        empty.generate([request])
        assert bytes_beside(before) == empty.planned_bytes
    # Rows that are as long would be one, in the same memory.
    rows = Engine(tiny.config, tiny.params, slots=1, context=POOL, prefix_tokens=0)
    caches = [of.planned_bytes - 8 * of.slots * tiny.config.vocab_size for of in (empty, rows)]
    assert caches[0] == caches[1]
    most = 0
    for _ in empty.events([Request(prompt(n, 9), SamplingParams(9)) for n in range(8)]):
        most = max(most, empty.stats().decoding)
    assert most == 8


def test_a_request_waits_for_its_pages_and_those_behind_it_wait_too(empty):
    order = []
    long, short = (12 * PAGE, 4), (PAGE, 4)
    asked = [
        Request(prompt(n, size), SamplingParams(new))
        for n, (size, new) in enumerate((long, long, short))
    ]
    states = [
        RequestState(n, one, lambda event: order.append(event.index)) for n, one in enumerate(asked)
    ]
    for state in states:
        empty.enqueue(state)
    empty.step()
    assert [state.slot is not None for state in states] == [True, False, False]
    empty.cancel(states[0])
    order.clear()
    empty.step()
    assert [state.slot is not None for state in states[1:]] == [True, True]
    while empty.step():
        pass
    assert set(order) == {1, 2}
    assert gives_all_pages(empty)


def test_what_the_pool_has_no_room_for_is_refused(empty):
    assert empty.context == POOL
    with pytest.raises(UserError, match=f"don't fit the context of {POOL} that is served"):
        empty.generate([Request(prompt(1, POOL), SamplingParams(1))])


def test_a_step_uploads_one_array_and_downloads_one(tiny, monkeypatch):
    uploads, downloads = recorded_transfers(monkeypatch)
    own = Engine(tiny.config, tiny.params, slots=8, pages=True, pool_tokens=POOL, part=64)
    own.generate([Request(prompt(3, 5), SamplingParams(3))])
    uploads.clear(), downloads.clear()
    with jax.transfer_guard_host_to_device("disallow"):
        own.generate([Request(prompt(3, 5), SamplingParams(10))])
    assert len(uploads) == 2 + 10  # the slots and tokens of the prompt, and the steps
    assert len(downloads) == 10


def test_a_pool_has_the_memory_of_rows_and_sequences_as_long_as_is_asked(tiny):
    room, options = Room(4, 256), {"prefix_tokens": PAGE}
    rows = EngineConfig().engine(tiny, room=room, **options)
    for context, longest in ((0, 256), (600, 600), (2000, 4 * 256 + PAGE)):
        engine = EngineConfig(context=context).engine(tiny, room=room, pages=True, **options)
        assert engine.planned_bytes == rows.planned_bytes
        assert engine.context == longest


@pytest.mark.parametrize(
    ("model", "dtype", "sizes", "platform", "context", "message"),
    [
        ("llama3-8b", "float16", {}, "tpu", 8192, "takes bfloat16 and float32, not float16"),
        ("llama3-8b", "bfloat16", {"tensor": 2}, "gpu", 8192, "for TPUs alone, and this is a GPU"),
        ("llama3-8b", "bfloat16", {"data": 2}, "tpu", 8192, "not where the slots are sharded"),
        ("smollm2-135m", "bfloat16", {}, "tpu", 8192, "a multiple of 128 numbers, not 64"),
        ("llama3-8b", "bfloat16", {"tensor": 16}, "tpu", 8192, "8 .* divided among 16 devices"),
        ("llama3-8b", "bfloat16", {}, "tpu", 65536, "256 slots of 65,536 tokens are more"),
    ],
)
def test_pages_that_no_kernel_takes_are_refused(model, dtype, sizes, platform, context, message):
    mesh = abstract_mesh(sizes, int(np.prod(list(sizes.values()))), "a device", platform)
    with pytest.raises(UserError, match=f"^pages: .*{message}"):
        check_pages(NAMED[model], jnp.dtype(dtype), mesh, 256, context // PAGE)


def test_pages_are_taken_where_there_is_a_kernel_and_on_a_cpu():
    llama, small = NAMED["llama3-8b"], NAMED["smollm2-135m"]
    for dtype, tensor in (("bfloat16", 1), ("bfloat16", 8), ("float32", 2)):
        mesh = abstract_mesh({"tensor": tensor}, tensor, "TPU v5 lite", "tpu")
        check_pages(llama, jnp.dtype(dtype), mesh, 240, 1024)
    check_pages(small, jnp.dtype("float16"), None, 1000, 10_000)


def test_row_buckets_are_refused_with_pages(tiny):
    with pytest.raises(UserError, match="row_buckets: with pages a step runs no free slots"):
        Engine(tiny.config, tiny.params, slots=2, pages=True, row_buckets=True)
