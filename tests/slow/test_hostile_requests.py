"""Requests that try to harm others: each gets an answer or a 400, and its neighbours the same."""

import threading

from tests.serve.conftest import server
from tests.serve.crowd import CHAT

__all__ = ["server"]  # a fixture

ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 2}
FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "min_tokens",
    "max_tokens",
    "seed",
    "n",
    "top_logprobs",
)
EXTREMES = (0, -1, 2**31, 3_000_000_000, 2**64, 10**400, -(10**400), 1e-300, 1e38, 1e300)
"""Beyond int32, int64 and float32, where a setting overflows on its way to the device."""
ERRORS = 'vcjax_faults_total{model="tiny"}'


def hostile() -> list[dict]:
    numbers = [{field: value} for field in FIELDS for value in EXTREMES]
    biases = [{"logit_bias": {"150": value}} for value in EXTREMES]
    tokens = [{"logit_bias": {str(value): 1}} for value in EXTREMES if isinstance(value, int)]
    stops = [{"stop": stop, "min_tokens": 2} for stop in ("e", ["\ufffd", " "], ["a" * 1000] * 16)]
    return [*numbers, *biases, *tokens, *stops]


def test_extreme_settings_are_answered_or_refused_and_a_neighbour_gets_what_it_gets_alone(server):
    long = ASKED | {"max_tokens": 2500, "min_tokens": 2500, "seed": 1, "logprobs": True}
    answers: list[dict] = []

    def neighbour() -> None:
        answers.append(server.send(CHAT, long).json["choices"][0])

    neighbour()
    errors = server.metric(ERRORS)
    thread = threading.Thread(target=neighbour)
    thread.start()
    beside = 0
    for changes in hostile():
        beside += thread.is_alive()
        response = server.send(CHAT, ASKED | {"logprobs": "top_logprobs" in changes} | changes)
        assert response.status in (200, 400), changes
        if response.status == 400:
            field = next(iter(changes))
            assert response.error["message"].startswith(field), changes
    thread.join()
    assert beside > 20
    assert answers[0] == answers[1]
    assert server.metric(ERRORS) == errors


def test_a_stop_string_within_min_tokens_is_part_of_the_text(server):
    whole = ASKED | {"max_tokens": 30, "min_tokens": 30, "seed": 4}
    text = server.send(CHAT, whole).json["choices"][0]["message"]["content"]
    stop = next(c for c in text[:-1] if c.isalpha() and text.count(c) == 1)
    again = server.send(CHAT, whole | {"stop": stop}).json["choices"][0]
    assert again["message"]["content"] == text
    assert again["finish_reason"] == "length"
