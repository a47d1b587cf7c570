"""A server whose queue is full, and that is asked to end."""

import signal
import threading

import openai
import pytest

from tests.serve.conftest import start
from tests.serve.crowd import CHAT
from tests.serve.servers import eventually
from tests.serve.test_server import ASKED

__all__ = ["start"]  # a fixture


def test_a_full_server_refuses_others_and_finishes_its_own_at_sigterm(start):
    server = start("--slots=1", "--max_waiting=1").wait_ready()
    assert server.send(CHAT, ASKED | {"n": 2, "max_tokens": 2}).status == 200
    assert server.send(CHAT, ASKED | {"n": 3, "max_tokens": 2}).status == 400
    answers: list[str] = []

    def ask(stream: bool) -> None:
        settings = ASKED | {"max_tokens": 1500, "seed": 1, "stream": stream}
        ours = {"min_tokens": 1500}
        answer = server.client().chat.completions.create(**settings, extra_body=ours)
        pieces = (c.choices[0].delta.content or "" for c in answer) if stream else None
        answers.append("".join(pieces) if pieces else answer.choices[0].message.content)

    threads = [threading.Thread(target=ask, args=(stream,)) for stream in (False, True)]
    for thread in threads:
        thread.start()
    eventually(lambda: server.health()["under_way"] == 2)
    with pytest.raises(openai.RateLimitError) as refused:
        server.client().chat.completions.create(**ASKED)
    assert refused.value.code == "queue_full"
    assert refused.value.response.headers["Retry-After"] == "1"

    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert server.process.wait(60) == 0
    assert answers[0] == answers[1]
    assert len(answers[0]) > 1000
    with pytest.raises(ConnectionRefusedError):
        server.send("/health")
