"""Many clients at once, of which some disconnect or send garbage; and the memory afterwards."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serve.crowd import CHAT, Crowd
from tests.serve.servers import Server, eventually
from vcjax.core.seeds import derive_seed
from vcjax.generate.requests import SamplingParams


@pytest.fixture
def crowd(server: Server) -> Crowd:
    return Crowd(server)


def test_of_64_clients_each_gets_what_is_due_to_it(server, crowd, text_engine):
    gone = server.metric("vcjax_http_gone_total")
    with ThreadPoolExecutor(64) as clients:
        outcomes = list(clients.map(crowd.client, range(64)))
    answered = [number for number in range(64) if crowd.kind(number) in ("asks", "streams")]
    requests = [
        text_engine.request(
            crowd.messages(number), SamplingParams(24, temperature=1.0, seed=derive_seed(number, 0))
        )
        for number in answered
    ]
    results = text_engine.engine.generate(requests)
    texts = [text_engine.text(*pair) for pair in zip(requests, results, strict=True)]
    expected = dict(zip(answered, texts, strict=True))
    for number, outcome in enumerate(outcomes):
        assert outcome == expected.get(number, crowd.kind(number)), number
    eventually(lambda: server.health()["under_way"] == 0)
    leavers = sum(crowd.kind(number) == "leaves" for number in range(64))
    assert server.metric("vcjax_http_gone_total") == gone + leavers
    assert server.metric('vcjax_decoding{model="tiny"}') == 0
    assert server.metric('vcjax_waiting{model="tiny"}') == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slots(server, stream):
    """Long before the 3,000 tokens that each was to have."""
    steps = server.metric('vcjax_steps_total{model="tiny"}')
    connection = server.connect()
    long = {"n": 4, "max_tokens": 3000, "min_tokens": 3000, "stream": stream}
    connection.request("POST", CHAT, **server.asking(long))
    eventually(lambda: server.health()["models"]["tiny"]["decoding"] == 4)
    connection.close()
    eventually(lambda: server.health()["models"]["tiny"]["decoding"] == 0)
    assert server.metric('vcjax_steps_total{model="tiny"}') < steps + 3000


def test_one_who_waits_for_a_slot_may_leave(server):
    long = {"n": 4, "max_tokens": 3000, "min_tokens": 3000}
    holder, waiter = server.connect(), server.connect()
    holder.request("POST", CHAT, **server.asking(long))
    eventually(lambda: server.health()["models"]["tiny"]["decoding"] == 4)
    waiter.request("POST", CHAT, **server.asking({"n": 3}))
    eventually(lambda: server.health()["models"]["tiny"]["waiting"] == 3)
    waiter.close()
    eventually(lambda: server.health()["models"]["tiny"]["waiting"] == 0)
    holder.close()
    eventually(lambda: server.health()["under_way"] == 0)
