"""Several models in one server: their names in requests, and the system message of a persona."""

import threading
from collections.abc import Iterator

import pytest

from vcjax.generate.text import encode_prompt
from vcjax.serve.chat import chat_job
from vcjax.serve.completions import completion_job
from vcjax.serve.config import ServeConfig
from vcjax.serve.errors import ApiError
from vcjax.serve.models import Models
from vcjax.serve.protocol import ChatRequest, CompletionRequest

ASKED = {"role": "user", "content": "Why?"}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture(scope="module")
def config(tiny_folder) -> ServeConfig:
    references = (str(tiny_folder), str(tiny_folder))
    return ServeConfig(
        references, ("a", "b"), slots=2, context=900, max_tokens=50, persona="Be fair."
    )


@pytest.fixture(scope="module")
def models(config) -> Iterator[Models]:
    models, loaded = Models(config), threading.Event()
    with pytest.raises(ApiError, match="'a' is loading"):
        models.named("a").ready()
    models.load(loaded.set)
    assert loaded.wait(120)
    assert models.failure is None
    yield models
    for service in models.services():
        service.close(drain=True)


def test_a_request_names_its_model_where_there_are_several(models):
    assert models.status == "ready"
    assert models.named("a").ready() is not models.named("b").ready()
    for name in ("", "c"):
        with pytest.raises(ApiError, match=r"there are: a, b"):
            models.named(name)


def test_the_persona_is_for_conversations_without_a_system_message(models, config):
    def prompt(*messages: dict[str, str]) -> tuple[int, ...]:
        asked = ChatRequest.model_validate({"messages": list(messages)})
        job = chat_job(asked, models.named("b"), config)
        (one,) = job.submissions
        assert one.request.sampling.max_tokens == 50
        return one.request.prompt

    tokenizer = models.named("b").ready().text.tokenizer
    persona = {"role": "system", "content": "Be fair."}
    assert prompt(ASKED) == encode_prompt(tokenizer, [persona, ASKED])
    assert prompt(SYSTEM, ASKED) == encode_prompt(tokenizer, [SYSTEM, ASKED])


def test_a_request_beyond_the_context_that_is_served_is_refused_in_one_line(models, config):
    loaded = models.named("a").ready()
    assert loaded.context == loaded.service.engine.context == 900
    body = {"model": "a", "prompt": [5] * 890, "max_tokens": 11}
    with pytest.raises(ApiError, match=r"prompt: .* 11 new ones don't fit .* of 900") as refused:
        completion_job(CompletionRequest.model_validate(body), models.named("a"), config)
    assert refused.value.status == 400
    assert refused.value.body["error"]["code"] == "context_length_exceeded"
    long = "So " * 900
    asked = ChatRequest.model_validate({"messages": [{"role": "user", "content": long}]})
    with pytest.raises(ApiError, match="don't fit the context of 900 that is served"):
        chat_job(asked, models.named("a"), config)
