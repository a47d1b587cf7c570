"""What one request may cost the others, in one process: bodies, memory, and defaults of a model."""

import asyncio
import contextlib
import gc
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette

from tests.serve.crowd import CHAT
from vcjax.core.errors import UserError
from vcjax.generate.engine import Engine
from vcjax.generate.requests import Event, Request, SamplingParams, Scored
from vcjax.generate.scoring import score
from vcjax.generate.service import Busy
from vcjax.generate.text import TextEngine
from vcjax.serve.config import ServeConfig
from vcjax.serve.endpoint import MOST_SCORES, PREPARING, TURNS, Endpoint, Gate, Preparation
from vcjax.serve.models import STEP_TOKENS, Loaded, Models, Scorer
from vcjax.serve.protocol import ChatRequest, CompletionRequest
from vcjax.serve.server import build_app

MANY = 20_000
ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Why do people disagree?"}],
    "max_tokens": 12,
    "min_tokens": 12,
}


@pytest.mark.parametrize(
    ("body_class", "body"),
    [
        (ChatRequest, {"messages": [{}] * MANY}),
        (ChatRequest, {"messages": [{"role": "user", "content": [{}] * MANY}]}),
        (ChatRequest, {"messages": [], **{f"field{n}": 1 for n in range(MANY)}}),
        (ChatRequest, {"messages": [{f"field{n}": 1 for n in range(MANY)}]}),
        (ChatRequest, {"messages": [], "stop": [5] * MANY}),
        (ChatRequest, {"messages": [], "choices": [5] * MANY}),
        (ChatRequest, {"messages": [], "stop_token_ids": ["5"] * MANY}),
        (ChatRequest, {"messages": [], "logit_bias": {str(n): "a" for n in range(MANY)}}),
        (CompletionRequest, {"prompt": [["a"]] * MANY}),
        (CompletionRequest, {"prompt": ["a"] * MANY}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_many_mistakes_of_a_body_are_few_errors(body_class, body):
    with pytest.raises(ValidationError) as refused:
        body_class.model_validate_json(json.dumps(body))
    assert refused.value.error_count() < 10


@pytest.fixture(scope="module")
def loaded(tiny) -> Iterator[Loaded]:
    """A model whose makers sample from one token."""
    model = replace(tiny, generation_config={**tiny.generation_config, "top_k": 1})
    engine = Engine(tiny.config, tiny.params, slots=2, step_tokens=64)
    loaded = Loaded(TextEngine(model, engine), 6)
    loaded.service.wait_ready()
    yield loaded
    loaded.service.close(drain=False)


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate(8)


@pytest.fixture(scope="module")
def app(loaded, gate, tiny_folder) -> Starlette:
    config = ServeConfig(models=(str(tiny_folder),), names=("tiny",))
    models = Models(config)
    models.all[0].loaded = loaded
    return build_app(config, models, gate)


class Counted(Scorer):
    """Counts the prompts that are scored apart from their continuation."""

    prompts = 0

    async def score(self, prompts: Any, top: int) -> Any:
        self.prompts += len(prompts)
        return await super().score(prompts, top)


ECHOED = {"prompt": ["Why?", "No."], "echo": True, "logprobs": 2, "n": 2}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/completions", ECHOED),
        ("/v1/completions", ECHOED | {"stream": True}),
        ("/v1/completions", {"prompt": "Why?", "prompt_logprobs": 1}),
        (CHAT, {"messages": ASKED["messages"], "prompt_logprobs": 1}),
    ],
    ids=["echo", "stream", "completion", "chat"],
)
def test_a_prompt_that_is_continued_is_not_scored_apart(app, loaded, path, asked):
    before, loaded.scorer = loaded.scorer, Counted(loaded.service)
    try:
        body = {"max_tokens": 2, **asked}
        status, content = asyncio.run(ask(app, body, path))
        assert status == 200, content
        assert loaded.scorer.prompts == 0
    finally:
        loaded.scorer = before


def test_a_long_prompt_is_scored_in_chunks_between_the_tokens_of_others(loaded):
    engine, seen, parts = loaded.service.engine, 0, 3
    run = engine.stats().prompt_tokens
    long = tuple(150 + n % 500 for n in range(STEP_TOKENS * parts))

    async def beside() -> tuple[int, Scored]:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def on_event(event: Event) -> None:
            nonlocal seen
            seen += 1
            loop.call_soon_threadsafe(begun.set)

        state = loaded.service.submit(Request((1, 2), SamplingParams(3000)), on_event)
        await begun.wait()
        before = seen
        (scored,) = await loaded.scorer.score([long], 1)
        tokens = seen - before
        loaded.service.cancel(state)
        return tokens, scored

    tokens, scored = asyncio.run(beside())
    # It is a prompt of the engine's, of which a step runs one part at most and draws a token.
    assert engine.stats().prompt_tokens - run == len(long) + 2
    assert tokens >= parts - 1
    (expected,) = score(engine.graph, engine.params, [(long, 1)], top=1)
    np.testing.assert_allclose(scored.logprobs, expected.logprobs, atol=1e-4)


def test_what_log_probabilities_need_is_made_before_the_first_request(loaded, monkeypatch):
    monkeypatch.delattr("vcjax.generate.text.Constraints")
    assert loaded.text.constraints.token_bytes(0)


def test_short_prompts_that_are_scored_have_a_share_of_each_step(loaded, monkeypatch):
    together: list[int] = []

    def counted(*given: Any, **options: Any) -> Any:
        together.append(sum(len(ids) for ids, _ in given[2]))
        return score(*given, **options)

    monkeypatch.setattr("vcjax.serve.models.score", counted)
    prompts = [tuple(150 + n % 500 for n in range(STEP_TOKENS // 4))] * 7

    async def beside() -> None:
        begun = threading.Event()
        state = loaded.service.submit(
            Request((1, 2), SamplingParams(3000)), lambda event: begun.set()
        )
        await asyncio.to_thread(begun.wait)
        await loaded.scorer.score(prompts, 1)
        loaded.service.cancel(state)

    asyncio.run(beside())
    assert together == [STEP_TOKENS, 3 * STEP_TOKENS // 4]


def test_a_long_prompt_whose_client_has_gone_frees_its_slot(loaded):
    async def leave() -> None:
        long = tuple(150 + n % 500 for n in range(STEP_TOKENS + 700))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await loaded.scorer.score([long] * 2, 1)
        while not loaded.service.engine.is_idle:
            await asyncio.sleep(0.01)

    asyncio.run(leave())


async def ask(app: Starlette, body: Any, path: str = CHAT) -> tuple[int, bytes]:
    """The status and the body of the response."""
    asked = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if asked:
            return asked.pop()
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": headers,
        "query_string": b"",
    }
    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], content


def test_few_requests_are_prepared_at_once(app, monkeypatch):
    under_way, most, job = 0, 0, Endpoint._job

    def counted(self: Endpoint, body: bytes) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.02)
        under_way -= 1
        return job(self, body)

    async def crowd() -> None:
        answers = await asyncio.gather(
            *(ask(app, ASKED | {"max_tokens": 1, "min_tokens": 1}) for _ in range(6))
        )
        assert {status for status, _ in answers} == {200}

    monkeypatch.setattr(Endpoint, "_job", counted)
    asyncio.run(crowd())
    assert most == PREPARING


def test_the_event_loop_gets_few_prepared_requests_at_once(monkeypatch):
    """However long it was busy: what it finds ready is answered before the next tokens."""
    given, unanswered = 0, []

    async def crowd() -> None:
        preparation, loop = Preparation(), asyncio.get_running_loop()
        run = loop.run_in_executor

        def counted(*arguments: Any) -> asyncio.Future:
            nonlocal given
            given += 1
            return run(*arguments)

        monkeypatch.setattr(loop, "run_in_executor", counted)
        requests = [asyncio.ensure_future(preparation.run(int)) for _ in range(20)]
        while not all(request.done() for request in requests):
            await asyncio.sleep(0)  # an iteration of the loop
            unanswered.append(given - sum(request.done() for request in requests))

    asyncio.run(crowd())
    assert given == 20
    assert max(unanswered) == TURNS


def test_sampling_settings_that_are_absent_are_those_of_the_model(app):
    async def answers() -> list[str]:
        bodies = [ASKED | {"seed": 1}, ASKED | {"seed": 2}, ASKED | {"top_k": 0, "seed": 2}]
        answered = [json.loads((await ask(app, body))[1]) for body in bodies]
        return [answer["choices"][0]["message"]["content"] for answer in answered]

    first, second, other = asyncio.run(answers())
    assert first == second != other


def test_settings_of_a_model_that_are_no_settings_are_its_user_s_mistake(tiny, engine):
    for given in ({"top_p": 7}, {"temperature": "hot"}):
        model = replace(tiny, generation_config=given)
        with pytest.raises(UserError, match=r"generation_config\.json: "):
            Loaded(TextEngine(model, engine), 1)


def test_prompts_that_are_scored_count_in_the_queue(loaded):
    async def score(count: int) -> None:
        await loaded.scorer.score([(1, 2, 3)] * count, 1)

    async def crowd() -> list[BaseException | None]:
        # Each begins before the engine's thread can be waited for.
        return await asyncio.gather(*(score(3) for _ in range(40)), return_exceptions=True)

    outcomes = asyncio.run(crowd())
    assert None in outcomes
    assert any(isinstance(outcome, Busy) for outcome in outcomes)
    assert all(outcome is None or isinstance(outcome, Busy) for outcome in outcomes)


def test_the_scores_of_prompts_are_bounded_and_counted(app, gate, monkeypatch):
    scored = {"prompt": [[1] * 30, [2] * 20], "echo": True, "logprobs": 4, "max_tokens": 0}
    chat = ASKED | {"max_tokens": 1, "min_tokens": 1, "prompt_logprobs": 20}
    asked = (("/v1/completions", scored | {"n": 2}), (CHAT, chat))

    def statuses() -> set[int]:
        return {asyncio.run(ask(app, body, path))[0] for path, body in asked}

    assert statuses() == {200}
    assert gate.scores == 0
    with gate.reserve(MOST_SCORES - 200):
        assert statuses() == {429}
    assert statuses() == {200}
    monkeypatch.setattr("vcjax.serve.continuations.MAX_SCORES", 2 * 50 * 5 - 1)
    status, content = asyncio.run(ask(app, scored | {"n": 2}, "/v1/completions"))
    assert status == 400
    assert "are 500 log-probabilities; at most 499" in json.loads(content)["error"]["message"]
    assert asyncio.run(ask(app, scored, "/v1/completions"))[0] == 200


def test_an_answer_ends_at_the_bound_of_alternatives_but_not_a_stream(app, monkeypatch):
    monkeypatch.setattr("vcjax.serve.endpoint.MAX_SCORES", 5 * 8)
    many = {"logprobs": True, "top_logprobs": 5, "max_tokens": 20, "min_tokens": 20}
    answer = json.loads(asyncio.run(ask(app, ASKED | many))[1])
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["logprobs"]["content"]) == answer["usage"]["completion_tokens"]
    assert answer["usage"]["completion_tokens"] == 9
    more = {"stream": True, "stream_options": {"include_usage": True}}
    *_, usage, _, _ = asyncio.run(ask(app, ASKED | many | more))[1].split(b"\n\n")
    assert json.loads(usage.removeprefix(b"data: "))["usage"]["completion_tokens"] == 20
    few = many | {"max_tokens": 8, "min_tokens": 8}
    answer = json.loads(asyncio.run(ask(app, ASKED | few))[1])
    assert answer["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (ASKED, 200),
        (ASKED | {"stream": True}, 200),
        ({"messages": [{}]}, 400),
        (ASKED | {"temperature": -1}, 400),
    ],
    ids=str,
)
def test_a_request_leaves_nothing_to_the_garbage_collector(app, body, status):
    async def left() -> int:
        assert (await ask(app, body))[0] == status  # what is made once
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                assert (await ask(app, body))[0] == status
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(left()) < 20
