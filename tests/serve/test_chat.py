"""Chats through OpenAI's own client."""

import json
import math
from typing import Annotated

import numpy as np
import pytest
from pydantic import BaseModel, Field

from vcjax.generate.requests import SamplingParams

ASKED = [{"role": "user", "content": "Why do people disagree? 为什么人们会有分歧？"}]
OURS = {"min_tokens", "top_k", "min_p", "repetition_penalty", "regex", "choices"}
TEXT = "公平的回答😀 is fair, 不是吗？"


class Grade(BaseModel):
    """A schema such as a judge's."""

    reason: Annotated[str, Field(max_length=12)]
    score: Annotated[int, Field(ge=0, le=5)]


@pytest.fixture
def chat(client):
    """Asks with the settings given; those that OpenAI's API hasn't go in the body as they are."""

    def ask(**given):
        settings = {"model": "tiny", "messages": ASKED, "max_tokens": 40, "seed": 3} | given
        ours = {name: settings.pop(name) for name in OURS & set(settings)}
        return client.chat.completions.create(**settings, extra_body=ours)

    return ask


def streamed(chunks) -> tuple[dict[int, str], dict[int, str]]:
    """The text of each choice of a stream, and why each ended."""
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            assert choice.index not in reasons  # nothing follows an end
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    return texts, reasons


def test_the_server_answers_as_the_model_does(chat, client, text_engine):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").context_length == text_engine.engine.config.max_position
    answer = chat()
    (expected,) = text_engine.generate([ASKED], SamplingParams(40, temperature=1.0, seed=3))
    assert answer.choices[0].message.content == expected
    assert answer.choices[0].message.role == "assistant"
    assert (
        chat(temperature=0).choices[0].message.content
        == text_engine.generate([ASKED], SamplingParams(40)).pop()
    )


def test_a_stream_adds_up_to_the_whole_answer(chat):
    for seed in range(4):
        whole = chat(seed=seed, n=3, min_tokens=9)
        texts, reasons = streamed(chat(seed=seed, n=3, min_tokens=9, stream=True))
        for choice in whole.choices:
            assert texts[choice.index] == choice.message.content
            assert reasons[choice.index] == choice.finish_reason
        assert len({choice.message.content for choice in whole.choices}) == 3


def test_without_a_seed_answers_differ_and_with_one_they_do_not(chat):
    def texts(**given) -> set[str]:
        return {chat(min_tokens=20, **given).choices[0].message.content for _ in range(3)}

    assert len(texts(seed=-5)) == 1
    assert len(texts(seed=None)) == 3


def test_usage_counts_tokens_whole_and_streamed(chat, text_engine):
    request = text_engine.request(ASKED, SamplingParams())
    whole = chat(min_tokens=7, max_tokens=7, n=2).usage
    expected = (len(request.prompt), 14, len(request.prompt) + 14)
    assert (whole.prompt_tokens, whole.completion_tokens, whole.total_tokens) == expected
    chunks = list(
        chat(min_tokens=7, max_tokens=7, n=2, stream=True, stream_options={"include_usage": True})
    )
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_is_whole_characters_and_ends_before_a_stop_string(chat, stream):
    def answered(**given) -> tuple[str, str]:
        answer = chat(choices=[TEXT * 8], max_tokens=900, stream=stream, **given)
        if not stream:
            return answer.choices[0].message.content, answer.choices[0].finish_reason
        chunks = list(answer)
        pieces = [c.choices[0].delta.content or "" for c in chunks]
        assert not any("\ufffd" in piece for piece in pieces)
        assert sum(map(bool, pieces)) > 1
        texts, reasons = streamed(chunks)
        return texts[0], reasons[0]

    assert answered() == (TEXT * 8, "stop")
    # A random tokenizer parts these characters' bytes, and the strings end within words.
    assert answered(stop="答😀 i") == ("公平的回", "stop")
    assert answered(stop=["never", "air,", "不是吗？!"]) == ("公平的回答😀 is f", "stop")


def test_log_probabilities_are_those_of_the_tokens(chat, text_engine):
    answer = chat(logprobs=True, top_logprobs=4, temperature=0, max_tokens=12, min_tokens=12)
    content = answer.choices[0].logprobs.content
    result = text_engine.engine.generate(
        [text_engine.request(ASKED, SamplingParams(12, min_tokens=12, top_logprobs=4))]
    )[0]
    np.testing.assert_allclose([one.logprob for one in content], result.logprobs, atol=1e-4)
    assert b"".join(bytes(one.bytes) for one in content).decode("utf-8", "replace") == (
        answer.choices[0].message.content
    )
    for one, top in zip(content, result.top, strict=True):
        assert len(one.top_logprobs) == 4
        np.testing.assert_allclose(
            [each.logprob for each in one.top_logprobs], [each for _, each in top], atol=1e-4
        )
        assert all(math.isfinite(each.logprob) for each in one.top_logprobs)
    chunks = chat(
        logprobs=True, top_logprobs=4, temperature=0, max_tokens=12, min_tokens=12, stream=True
    )
    sent = [one for c in chunks if c.choices[0].logprobs for one in c.choices[0].logprobs.content]
    assert [one.token for one in sent] == [one.token for one in content]


def test_an_answer_is_json_of_a_schema(client, chat):
    for seed in range(5):
        parsed = client.chat.completions.parse(
            model="tiny", messages=ASKED, seed=seed, max_tokens=200, response_format=Grade
        )
        assert isinstance(parsed.choices[0].message.parsed, Grade)
    answer = chat(response_format={"type": "json_object"}, max_tokens=300).choices[0]
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(answer.message.content), dict)
    assert answer.message.content.startswith("{")
    assert chat(response_format={"type": "text"}).choices[0] == chat().choices[0]


def test_sampling_settings_reach_the_engine(chat):
    def answered(**given) -> str:
        return chat(max_tokens=12, **given).choices[0].message.content

    greedy = chat(temperature=0, max_tokens=12).choices[0].message.content
    assert answered(top_k=1) == answered(min_p=1.0) == greedy
    assert chat(top_p=1e-6, max_tokens=12).choices[0].message.content == greedy
    assert answered(choices=["yes", "no"]) in ("yes", "no")
    assert answered(regex="a{3}|b{3}") in ("aaa", "bbb")
    assert chat(logit_bias={"100": 100}, max_tokens=4).choices[0].message.content == "%" * 4
    assert chat(max_tokens=None, max_completion_tokens=3, min_tokens=3).usage.completion_tokens == 3


def test_messages_may_come_in_parts_and_from_a_developer(chat):
    plain = [{"role": "system", "content": "Be fair."}, *ASKED]
    parts = [{"type": "text", "text": text} for text in ("Be ", "fair.")]
    split = [{"role": "developer", "content": parts}, *ASKED]
    assert chat(messages=plain).choices[0] == chat(messages=split).choices[0]
    # As a client sends back what it got, with fields that are null.
    answer = chat(messages=plain, min_tokens=2).choices[0].message
    again = [*plain, answer, {"role": "user", "content": "And?"}]
    assert chat(messages=again).choices[0].finish_reason in ("stop", "length")
