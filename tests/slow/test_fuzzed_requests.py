"""Requests from the API's fields and from random bytes: none is a fault, and none cuts a stream.

Of 64 clients, beside eight streams. `VCJAX_FUZZ=10000` sends so many; a number is the same request
each time. The gaps of the streams are compared with those of the seconds before in the same run,
when they were alone, and of both the median over the rounds counts: a busy machine has both.
"""

import json
import os
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from statistics import median
from typing import Any

from tests.compilation import OPTIMISED
from tests.serve.conftest import start
from tests.serve.crowd import CHAT
from tests.serve.servers import Server
from tests.serve.streams import Streams
from vcjax.serve.protocol import ChatRequest, CompletionRequest

__all__ = ["start"]  # a fixture

COUNT = int(os.environ.get("VCJAX_FUZZ", "400"))
WHOLE = 5000
"""From so many on, the gaps of the streams and the memory are held to their bounds."""
WARM_UP = 4096 if COUNT >= WHOLE else 0
ROUNDS = 5
SECONDS_ALONE = 3.0 if COUNT >= WHOLE else 1.0
TEXT = "/v1/completions"
FAULTS = 'vcjax_faults_total{model="tiny"}'
BODIES = {
    CHAT: (ChatRequest, {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 3}),
    TEXT: (CompletionRequest, {"prompt": "Why?", "max_tokens": 3}),
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
KNOWN: dict[str, list[Any]] = {
    "model": ["tiny", "", "other"],
    "messages": [
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "A"}, {"type": "text", "text": ""}],
            }
        ],
        [{"role": "tool", "tool_call_id": "1", "content": "x"}],
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
        [{"role": role, "content": "\ud83d\ude00<|im_end|>"} for role in ("system", "user")],
    ],
    "prompt": ["", ["a", "b"], [5, 6], [[5], [6, 7]], [[]], "x" * 3000, [0] * 600],
    "n": [1, 2, 5, 128],
    "stop": ["e", ["a", "b"], [""], ["x" * 2000] * 16],
    "logit_bias": [{"5": 100, "6": -100}, {str(n): -100 for n in range(300)}],
    "response_format": [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"enum": [1, "b"]}}},
        {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "#"}}},
    ],
    "regex": ["[0-9]{3}", "(", "(a{1000}){1000}", "(?=a)"],
    "choices": [["a", "b"], [], ["\n"]],
    "tools": [[TOOL], [TOOL, TOOL], []],
    "tool_choice": ["none", "auto", "required", {"type": "function", "function": {"name": "f"}}],
    "stream_options": [{"include_usage": True}],
    "chat_template_kwargs": [{"enable_thinking": False}, {"messages": 1}, {"a": []}],
    "stop_token_ids": [[1], [700], [10**9]],
}
STRINGS = ("", "a", "\x00", "\ufffe", "é" * 500, "<|im_end|>", "9" * 400, "\u202e", "{}", "None")
NUMBERS = (0, 1, -1, 2, 20, 2**31, 2**63, 2**64, 10**400, 0.5, -0.5, 1e-300, 1e308)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that JSON may have."""
    kind = rng.randrange(7 if depth < 4 else 5)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice(STRINGS)
    if kind < 5:
        return rng.choice((True, False, None))
    few = range(rng.randrange(4))
    if kind == 5:
        return [value(rng, depth + 1) for _ in few]
    return {rng.choice(STRINGS): value(rng, depth + 1) for _ in few}


def asked(number: int) -> tuple[str, bytes]:
    """The path and the body of a request."""
    rng = random.Random(number)
    path = rng.choice((CHAT, TEXT))
    body_class, base = BODIES[path]
    if number % 10 == 0:
        return path, rng.randbytes(rng.randrange(2000))
    body = {"model": "tiny", **base}
    for name in rng.sample(sorted(body_class.model_fields), rng.choice((1, 1, 1, 2, 3))):
        given = KNOWN.get(name)
        body[name] = rng.choice(given) if given and rng.random() < 0.8 else value(rng)
    if rng.random() < 0.05:
        body[rng.choice(STRINGS)] = value(rng)
    # Long answers are no mistakes, and would only take long.
    if not isinstance(body.get("n", 1), int) or body.get("n", 1) not in range(6):
        body["max_tokens"] = 1
    for name in ("max_tokens", "max_completion_tokens"):
        limit = body.get(name)
        if isinstance(limit, int | float) and limit > 100 and limit < 10_000:
            body[name] = 4
    content = json.dumps(body).encode()
    if number % 10 == 1:  # broken somewhere
        at = rng.randrange(len(content))
        content = content[:at] + rng.randbytes(rng.randrange(4)) + content[at + rng.randrange(9) :]
    return path, content


def raw(server: Server, number: int) -> None:
    """Sends what isn't HTTP; the server hangs up, with or without an answer."""
    content = random.Random(number).randbytes(500) + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer[:12] in (b"", b"HTTP/1.1 400"), (number, answer)


def send(server: Server, number: int) -> int:
    """Sends a request; the status of its answer, which is one that it may have."""
    if number % 50 == 7:
        raw(server, number)
        return 400
    path, content = asked(number)
    response = server.send(path, content)
    assert response.status in (200, 400, 404, 429), (number, response.status, content[:300])
    if response.status != 200:
        assert response.error["message"], number
    elif response.content.startswith(b"data: "):
        assert response.content.endswith(b"data: [DONE]\n\n"), number
    else:
        assert response.json["choices"], number
    return response.status


def test_no_request_is_a_fault_and_none_changes_or_holds_up_its_neighbours(start, monkeypatch):
    if COUNT >= WHOLE:  # the tests' own programs are slower by a factor of ten
        for name, value in OPTIMISED.items():
            monkeypatch.setenv(name, value)
    flags = "--slots=16", "--max_waiting=200", "--max_tokens=3000", f"--warm_up={WARM_UP}"
    server = start(*flags).wait_ready()
    size = COUNT // (ROUNDS + 1)
    alone, attacked, sizes, outcomes = [], [], [], Counter()
    with Streams(server) as streams, ThreadPoolExecutor(64) as clients:
        for number in range(ROUNDS + 1):
            spans = [time.monotonic()]
            time.sleep(SECONDS_ALONE)
            spans.append(time.monotonic())
            part = range(number * size, (number + 1) * size)
            outcomes.update(clients.map(lambda each: send(server, each), part))
            spans.append(time.monotonic())
            sizes.append(server.metric("process_resident_memory_bytes"))
            if number:  # in the first one programs are compiled
                alone.append(spans[:2])
                attacked.append(spans[1:])
    gaps = [median(streams.largest_gap(*span) for span in each) for each in (alone, attacked)]
    # The slope of Theil and Sen: a round's size alone differs from the next one's by megabytes.
    pairs = combinations(enumerate(sizes), 2)
    left = median((later - before) / (n - m) for (m, before), (n, later) in pairs) / size
    print(f"\n{size * (ROUNDS + 1)} requests: {dict(outcomes)}; {left:.0f} bytes left by each")
    print(
        f"whole answers beside them: {sum(streams.whole().values())}; largest gap between tokens:"
    )
    print(f"{1000 * gaps[0]:.0f} ms alone, {1000 * gaps[1]:.0f} ms beside (medians of rounds)")
    if COUNT >= WHOLE:  # in a short run programs are still being compiled
        assert gaps[1] <= 3 * gaps[0]
        assert left < 4096
    assert server.metric(FAULTS) == 0
    assert {200, 400} <= set(outcomes)
    assert server.stop() == 0
