"""One role behind several URLs: each ask has its one answer, whoever dies meanwhile."""

import asyncio
import contextlib
import time
from collections import Counter

import httpx2
import pytest

from tests.roles.failing import GOOD, FailingServer, serving
from vcjax.core.errors import GateNotMet, UserError
from vcjax.roles.endpoint import EndpointRole, _Service
from vcjax.roles.endpoint_spec import EndpointSpec, split_references
from vcjax.roles.replicas import Replicas
from vcjax.roles.responses import FailedTry
from vcjax.roles.role import Ask, Reply

QUICK = "backoff=0.01#timeout=5#total=60"


@pytest.fixture
def servers():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(3)]


def role_of(servers: list[FailingServer], options: str = QUICK) -> EndpointRole:
    urls = ",".join(server.url for server in servers)
    return EndpointRole(EndpointSpec.parse(f"{urls}#m#{options}"), family="served")


def asks(count: int, text: str = "good") -> list[Ask]:
    messages = [({"role": "user", "content": f"{text} {n}"},) for n in range(count)]
    return [Ask(f"{n}", each, 20, seed=n) for n, each in enumerate(messages)]


def answered(servers: list[FailingServer]) -> Counter[str]:
    return sum((server.tries for server in servers), Counter())


def end(server: FailingServer) -> None:
    """It listens no more, and hangs up on who is connected."""
    server.dead = True
    server.shutdown()
    server.server_close()


def test_all_are_asked_and_each_ask_once(servers):
    role = role_of(servers, f"{QUICK}#concurrency=2")
    replies = role.ask(asks(60))
    assert [reply.text for reply in replies] == [GOOD] * 60
    assert set(answered(servers).values()) == {1}
    assert all(sum(server.tries.values()) > 5 for server in servers)
    assert all(server.most <= 2 for server in servers)


@pytest.mark.parametrize("is_gone", [False, True])
def test_the_calls_of_one_that_dies_half_way_go_elsewhere(servers, is_gone):
    dying = servers[1]
    received: dict[int, Reply] = {}

    def on_reply(index: int, reply: Reply) -> None:
        assert index not in received
        received[index] = reply
        if len(received) == 30:
            if is_gone:
                end(dying)
            dying.dead = True

    # With one try for each ask: that of one which died is no try of another.
    replies = role_of(servers, f"{QUICK}#tries=1#concurrency=2").ask(asks(90), on_reply)
    assert [received[n] for n in range(90)] == replies
    assert {reply.outcome for reply in replies} == {"ok"}
    assert set(answered(servers).values()) == {1}
    assert sum(dying.tries.values()) < 45


def test_one_that_failed_is_asked_again_later(servers):
    servers[0].dead = True

    def on_reply(index: int, reply: Reply) -> None:
        servers[0].dead = False
        time.sleep(0.005)

    role_of(servers, f"{QUICK}#concurrency=1").ask(asks(60), on_reply)
    assert sum(servers[0].tries.values()) > 5


def test_one_that_hangs_is_not_waited_for_again_by_each_call(servers):
    servers[0].word = "slow"
    role = role_of(servers, "backoff=600#timeout=0.3#concurrency=2")
    assert {reply.outcome for reply in role.ask(asks(6))} == {"ok"}
    asked = sum(servers[0].tries.values())
    assert 0 < asked <= 2  # as many as its concurrency, before the first timed out
    assert {reply.outcome for reply in role.ask(asks(6, "later"))} == {"ok"}
    assert sum(servers[0].tries.values()) == asked


def test_time_spent_waiting_for_a_replica_is_no_failure_of_it(servers):
    role = role_of(servers[:1], f"{QUICK}#concurrency=1")
    replicas = Replicas(dict.fromkeys(role.spec.urls, 1))

    async def late() -> None:
        async with httpx2.AsyncClient() as client:
            service = _Service(replicas, dict.fromkeys(role.spec.urls, client))
            await role._try(service, asks(1)[0], time.monotonic())

    with pytest.raises(FailedTry, match="no replica was free in time"):
        asyncio.run(late())
    assert not replicas.all[0].failures
    assert not servers[0].tries


def test_requests_that_fail_together_are_one_failure():
    [replica] = Replicas({"a": 8}).all
    for _ in range(8):
        replica.failed(5.0, None, is_gone=False)
    assert replica.failures == 1
    assert replica.until < time.monotonic() + 5.0
    replica.failed(5.0, 60.0, is_gone=False)  # it says so itself
    assert replica.until > time.monotonic() + 50.0
    replica.answered()
    assert replica.is_available


def test_one_that_is_overloaded_is_left_alone_for_as_long_as_it_says(servers):
    servers[0].word = "later"  # tomorrow
    replies = role_of(servers, f"{QUICK}#concurrency=1").ask(asks(30))
    assert {reply.outcome for reply in replies} == {"ok"}
    assert sum(servers[0].tries.values()) == 1


def test_a_run_ends_where_all_are_gone(servers):
    for server in servers:
        end(server)
    with pytest.raises(GateNotMet, match="nobody answers there"):
        role_of(servers, f"{QUICK}#tries=2").ask(asks(3))
    with pytest.raises(UserError, match="nobody answers there"):
        role_of(servers).check()


def test_it_opens_where_one_of_them_answers(servers, capsys):
    end(servers[2])
    role_of(servers).check()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{servers[2].url}: nobody answers there now")


def test_urls_of_one_endpoint_stay_together_in_a_list_of_references():
    first, last = "http://a/v1,http://b/v1#m#tries=3", "http://c/v1#n"
    assert split_references(f"{first}, runs/sft,{last}") == [first, "runs/sft", last]
    assert split_references("") == []
    assert EndpointSpec.parse("http://a/v1/,http://b/v1#m").reference == "http://a/v1,http://b/v1#m"
    for text, message in (
        ("http://a/v1,http://a/v1/#m", "a URL is there twice"),
        ("http://a/v1,b/v1#m", "begins with http:// or https://"),
        (split_references("http://a/v1,http://b/v1")[0], "add the model's name there"),
    ):
        with pytest.raises(UserError, match=message):
            EndpointSpec.parse(text)
