"""A role played by `launch.serve`: what it replies is what the local engine replies."""

from dataclasses import replace

import pytest

from tests.serve.servers import KEY
from tests.tiny import CONTEXT
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.local import LocalRole
from vcjax.roles.role import Ask
from vcjax.roles.verdict import grade_schema, parse_grade

QUESTIONS = ["Why?", "为什么？", "Is it so?", "How?", "So what?", "何时？"]


@pytest.fixture
def endpoint(server, monkeypatch):
    monkeypatch.setenv("TINY_KEY", KEY)
    text = f"http://127.0.0.1:{server.port}/v1#tiny#key_env=TINY_KEY#concurrency=6"
    role = EndpointRole(EndpointSpec.parse(text), family="tiny")
    role.check()
    return role


@pytest.fixture(scope="module")
def local(tiny_folder):
    return LocalRole(ModelPool(EngineConfig(slots=4)), str(tiny_folder), family="tiny")


def asks(**more):
    return [
        Ask(f"{n}", ({"role": "user", "content": text},), **{"max_tokens": 12, **more})
        for n, text in enumerate(QUESTIONS)
    ]


def test_greedy_replies_are_those_of_the_local_engine(endpoint, local):
    replies = endpoint.ask(asks())
    assert {reply.model for reply in replies} == {"tiny"}
    expected = [replace(reply, model="tiny") for reply in local.ask(asks())]
    # Over HTTP an answer without any text has its own outcome.
    assert [reply.text for reply in replies] == [reply.text for reply in expected]
    for reply, same in zip(replies, expected, strict=True):
        assert reply == same or (reply.outcome, same.text) == ("empty", "")


def test_verdicts_follow_their_schema_and_come_with_the_alternatives_of_the_score(endpoint, local):
    graded = asks(max_tokens=400, json_schema=grade_schema("en"), top_logprobs=5)
    replies, expected = endpoint.ask(graded), local.ask(graded)
    assert [reply.text for reply in replies] == [reply.text for reply in expected]
    finished = [reply for reply in replies if reply.finish_reason == "stop"]
    assert finished
    for reply in finished:
        score = parse_grade(reply).score
        assert score is not None
        assert str(score) in [text.strip() for text, _ in reply.alternatives[-1]]


def test_an_ask_that_does_not_fit_the_context_has_the_same_outcome_over_http(endpoint, local):
    long = [Ask("a", ({"role": "user", "content": "why " * CONTEXT},), 5)]
    assert [role.ask(long)[0].outcome for role in (endpoint, local)] == ["too long"] * 2
