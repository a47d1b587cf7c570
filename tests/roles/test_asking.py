"""Asks of several roles, side by side."""

import shutil

import pytest

from tests.adversarial.timed import Clock, TimedRole
from tests.roles.failing import serving
from vcjax.core.errors import GateNotMet
from vcjax.generate.model_pool import EngineConfig, ModelPool
from vcjax.roles.asking import AskQueue
from vcjax.roles.cache import CachedRole
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.local import LocalRole
from vcjax.roles.role import Ask, Reply


def asked(text, seed=0):
    return Ask(text, ({"role": "user", "content": text},), 6, temperature=1.0, seed=seed)


def answer_all(queue):
    while queue.open:
        queue.wait()


def role_at(server, options=""):
    return EndpointRole(EndpointSpec.parse(f"{server.url}#m{options}"), family="a")


class Plain:
    """A role that takes no ask while others are under way."""

    family = model = identity = "plain"

    def __init__(self):
        self.batches = []

    def ask(self, asks, on_reply=None):
        self.batches.append([ask.key for ask in asks])
        replies = [Reply(f"to {ask.key}", "stop", 1, 1) for ask in asks]
        for index, reply in enumerate(replies):
            if on_reply is not None:
                on_reply(index, reply)
        return replies


def test_an_ask_that_a_reply_leads_to_is_answered_beside_the_others():
    clock = Clock()
    fast = TimedRole(clock, slots=2, seconds=lambda ask: 1.0, says=lambda ask: ask.key)
    slow = TimedRole(clock, slots=1, seconds=lambda ask: 2.5, says=lambda ask: ask.key)
    plain, ends = Plain(), {}

    def received(token, reply):
        ends[token] = clock.now
        if token == "a":
            queue.add(fast, "a then", asked("a then"))
        if token == "slow":
            queue.add(plain, "last", asked("last"))

    with AskQueue(received) as queue:
        for token in ("a", "b", "c"):
            queue.add(fast, token, asked(token))
        queue.add(slow, "slow", asked("slow"))
        for token in ("p", "q"):
            queue.add(plain, token, asked(token))
        answer_all(queue)
        queue.finish()
    times = {"a": 1, "b": 1, "c": 2, "a then": 2, "slow": 2.5}
    assert ends == times | dict.fromkeys(("p", "q", "last"), 2.5)
    assert plain.batches == [["p", "q", "last"]]


def test_of_those_that_wait_the_lowest_in_order_is_next():
    role, received = TimedRole(Clock(), slots=1, says=lambda ask: ask.key), []
    with AskQueue(lambda token, reply: received.append(token)) as queue:
        for order in ((3, 0), (2, 1), (1, 5), (1, 4), (2, 0)):
            queue.add(role, order, asked(f"{order}"), order)
        answer_all(queue)
    assert received == [(3, 0), (1, 4), (1, 5), (2, 0), (2, 1)]


def test_where_one_role_fails_those_that_answer_others_end_them_first():
    received = []
    with serving() as fine, serving() as bad:
        good = role_at(fine, "#concurrency=2")
        broken = role_at(bad, "#tries=1#in_a_row=1#backoff=0")
        with AskQueue(lambda token, reply: received.append((token, reply.outcome))) as queue:
            for n in range(40):
                queue.add(good, n, asked(f"[wait] {n}"))
            queue.add(broken, "broken", asked("[broken]"))
            with pytest.raises(GateNotMet, match="1 asks in a row failed"):
                answer_all(queue)
        answered = [token for token, _ in received if token != "broken"]
        assert ("broken", "server error") in received
        # None was asked and not received, and those that waited weren't asked any more.
        assert sum(fine.tries.values()) == len(answered) < 40


def test_two_models_of_which_the_memory_has_room_for_one_answer_in_turns(tiny_folder, tmp_path):
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    alone = LocalRole(ModelPool(EngineConfig(slots=2)), str(tiny_folder), family="tiny")
    asks = [asked(f"Why {n}?", n) for n in range(6)]
    wanted = [reply.text for reply in alone.ask(asks)]
    room = sum(one.weights + one.state for one in alone._pool.plan())
    pool = ModelPool(EngineConfig(slots=2), memory=int(1.5 * room))
    roles = [LocalRole(pool, str(folder), family="tiny") for folder in (tiny_folder, other)]
    texts = {}

    def received(token, reply):
        texts[token] = reply.text
        which, n = token
        if n < 3:  # each leads to one at the other model
            queue.add(roles[1 - which], (1 - which, n + 3), asks[n + 3])

    with AskQueue(received) as queue:
        for n in range(3):
            queue.add(roles[n % 2], (n % 2, n), asks[n])
        answer_all(queue)
        queue.finish()
    assert len(texts) == 6
    assert all(text == wanted[n] for (_, n), text in texts.items())


def test_what_is_known_is_answered_at_once_and_the_rest_is_asked():
    plain, received = Plain(), {}
    role = CachedRole(plain, {"known": Reply("known before", "stop", 0, 0)})
    with AskQueue(received.__setitem__) as queue:
        queue.add(role, 1, asked("known"))
        queue.add(role, 2, asked("new"))
        answer_all(queue)
    assert {token: reply.text for token, reply in received.items()} == {
        1: "known before",
        2: "to new",
    }
    assert plain.batches == [["new"]]
