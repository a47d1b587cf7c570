"""A role over HTTP: every call ends in its outcome, within its limit of tries."""

import asyncio
import json
import socket
from collections import Counter

import pytest

from tests.roles.failing import GOOD, serving
from vcjax.charter.load import load_charter
from vcjax.core.errors import GateNotMet, UserError
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark
from vcjax.evaluation.run import evaluate, read_scores
from vcjax.evaluation.subject import EvaluationSettings, Subject
from vcjax.generate.engine_config import EngineConfig
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.recorded import RecordedRole
from vcjax.roles.references import RoleSpec, open_roles
from vcjax.roles.role import Ask, Reply

TRIES = 3
QUICK = f"tries={TRIES}#backoff=0.001#timeout=1.5#total=60"

ENDS = {
    "good": ("ok", 1),
    "limited": ("rate limited", TRIES),
    "limited once": ("ok", 2),
    "later": ("rate limited", 1),
    "broken": ("server error", TRIES),
    "broken once": ("ok", 2),
    "slow": ("timeout", TRIES),
    "slow once": ("ok", 2),
    "cut": ("cut off", TRIES),
    "cut once": ("ok", 2),
    "chunked": ("cut off", TRIES),
    "hangup": ("cut off", TRIES),
    "hangup once": ("ok", 2),
    "nothing": ("empty", 1),
    "bodiless": ("empty", TRIES),
    "html": ("not JSON", TRIES),
    "html once": ("ok", 2),
    "other": ("wrong schema", TRIES),
    "filtered": ("content filter", 1),
    "blocked": ("content filter", 1),
    "longer": ("too long", 1),
    "refused": ("bad request", 1),
}
"""What becomes of an ask, and after how many tries."""


@pytest.fixture
def server():
    with serving() as running:
        yield running


def role_of(server, options=QUICK, family="served"):
    spec = EndpointSpec.parse(f"{server.url}#some/model" + (f"#{options}" if options else ""))
    return EndpointRole(spec, family=family)


def asks(*texts, **more):
    return [
        Ask(f"{n}", ({"role": "user", "content": text},), 20, seed=n, **more)
        for n, text in enumerate(texts)
    ]


def test_every_ask_of_a_mix_ends_in_its_outcome_after_its_tries(server):
    words = [word for _ in range(2) for word in ENDS]
    texts = [f"[{word}] {n}" for n, word in enumerate(words)]
    role, received = role_of(server), {}
    replies = role.ask(asks(*texts), received.__setitem__)
    for word, text, reply in zip(words, texts, replies, strict=True):
        outcome, tries = ENDS[word]
        assert (text, reply.outcome, server.tries[text]) == (text, outcome, tries)
        assert reply.text == (GOOD if outcome == "ok" else "")
        assert reply.finish_reason == ("stop" if outcome == "ok" else outcome)
        assert reply.detail or outcome == "ok"
    assert [received[index] for index in range(len(texts))] == replies
    assert server.most <= role.spec.concurrency


def test_a_reply_has_its_tokens_model_cost_and_seconds(server):
    role = role_of(server, f"{QUICK}#prompt_price=2#price=10")
    (reply,) = role.ask(asks("good"))
    assert reply == Reply(GOOD, "stop", 10, 5, model="served", cost=(10 * 2 + 5 * 10) / 1e6)
    assert reply.seconds > 0


def test_what_is_asked_is_sent(server, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sesame")
    role = role_of(server, "key_env=SOME_KEY")
    schema = {"type": "object"}
    role.ask(asks("good", temperature=0.5, top_p=0.9, json_schema=schema, top_logprobs=3))
    assert server.bodies == [
        {
            "model": "some/model",
            "messages": [{"role": "user", "content": "good"}],
            "max_tokens": 20,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": schema},
            },
            "logprobs": True,
            "top_logprobs": 3,
        }
    ]
    assert server.headers[0]["authorization"] == "Bearer sesame"
    role.ask(asks("good"))
    assert not {"response_format", "logprobs", "top_logprobs"} & server.bodies[1].keys()
    assert "sesame" not in role.model


def test_asks_are_under_way_together_up_to_the_bound(server):
    role_of(server, f"concurrency=3#{QUICK.replace('timeout=1.5', 'timeout=20')}").ask(
        asks(*[f"[wait] {n}" for n in range(9)])
    )
    assert server.most == 3
    with serving() as alone:
        role_of(alone, "concurrency=1").ask(asks(*[f"good {n}" for n in range(5)]))
        assert alone.most == 1


def test_no_wait_reaches_beyond_the_time_of_an_ask(server):
    role = role_of(server, "tries=50#backoff=1000#total=3#timeout=2")
    (reply,) = role.ask(asks("[broken]"))
    assert (reply.outcome, server.tries["[broken]"]) == ("server error", 1)


@pytest.mark.parametrize(
    ("options", "bound"), [("token_budget=40", "40 of|45 tokens"), ("cost_budget=0.00003", "cost")]
)
def test_a_spent_budget_ends_the_run_and_keeps_what_was_answered(server, options, bound):
    role, received = role_of(server, f"{QUICK}#concurrency=1#prompt_price=0#price=2#{options}"), {}
    with pytest.raises(GateNotMet, match=f"its budget is spent: .*({bound})"):
        role.ask(asks(*[f"good {n}" for n in range(9)]), received.__setitem__)
    assert list(received) == [0, 1, 2]
    assert sum(server.tries.values()) == 3
    assert role.ask([]) == []  # there is nothing to be spent on
    again = role_of(server, f"{QUICK}#concurrency=1#prompt_price=0#price=2#{options}")
    again.account.charge(45, 0.00003)  # by an earlier process
    with pytest.raises(GateNotMet):
        again.ask(asks("good"))
    assert sum(server.tries.values()) == 3


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("denied", r"HTTP 401: bad key; asked for model 'some/model', without a key \(key_env\)"),
        ("unknown", "HTTP 404: no such model"),
    ],
)
def test_what_no_ask_can_mend_ends_the_run(server, word, message):
    with pytest.raises(UserError, match=message):
        role_of(server, f"{QUICK}#concurrency=1").ask(asks("good", f"[{word}]", "good after"))
    assert server.tries == Counter(["good", f"[{word}]"])


def test_an_endpoint_that_answers_nothing_any_more_ends_the_run(server):
    role, received = role_of(server, f"{QUICK}#concurrency=1#in_a_row=4"), []
    texts = [f"[broken] {n}" for n in range(9)]
    texts.insert(3, "good")
    with pytest.raises(GateNotMet, match="4 asks in a row failed, the last one: server error"):
        role.ask(asks(*texts), lambda index, reply: received.append(reply.outcome))
    assert received == ["server error"] * 3 + ["ok"] + ["server error"] * 4
    assert server.tries["[broken] 7"] == 0


def test_replicas_that_fail_or_are_gone_end_the_run_as_well(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    options = "tries=1#backoff=0#concurrency=1#in_a_row=4"
    spec = EndpointSpec.parse(f"{server.url},{gone}#some/model#{options}")
    received = []
    with pytest.raises(GateNotMet, match="4 asks in a row failed"):
        EndpointRole(spec, family="served").ask(
            asks(*[f"[broken] {n}" for n in range(30)]),
            lambda index, reply: received.append(reply.outcome),
        )
    assert "unreachable" in received


def test_requests_that_are_all_rejected_are_a_mistake_of_the_run(server):
    role = role_of(server, f"{QUICK}#concurrency=1#in_a_row=3")
    with pytest.raises(GateNotMet, match=r"3 asks in a row failed, .*no such option"):
        role.ask(asks(*[f"[refused] {n}" for n in range(9)]))
    fine = role_of(server, f"{QUICK}#concurrency=1#in_a_row=3")
    replies = fine.ask(asks("good", *[f"[refused] {n}" for n in range(9)]))
    assert [reply.outcome for reply in replies] == ["ok"] + ["bad request"] * 9


def test_an_endpoint_that_is_gone_ends_the_run_without_a_reply(server):
    role, received = role_of(server), []
    role.ask(asks("good"))
    server.shutdown()
    server.server_close()
    with pytest.raises(GateNotMet, match="nobody answers there"):
        role.ask(asks("good", "good"), lambda *each: received.append(each))
    assert received == []


def test_an_error_of_the_caller_ends_all(server):
    role = role_of(server, "concurrency=2")

    def full(index, reply):
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        role.ask(asks("good", *[f"[slow] {n}" for n in range(50)]), full)
    assert sum(server.tries.values()) <= 4


def test_it_can_be_asked_from_within_another_event_loop(server):
    async def cell():
        return role_of(server).ask(asks("good"))

    assert asyncio.run(cell())[0].text == GOOD


def test_no_proxy_is_used_on_this_machine(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    role = role_of(server)
    role.check()
    assert role.ask(asks("good"))[0].text == GOOD


def test_opening_one_checks_that_somebody_is_there(server):
    spec = f"endpoint:{server.url}#m#concurrency=2"
    specs = {"attacker": RoleSpec(spec, "a"), "critic": RoleSpec(spec, "a")}
    roles, parents = open_roles(specs, EngineConfig(slots=1))
    assert roles["attacker"] is roles["critic"]
    assert roles["critic"].model == f"{server.url}#m"
    assert [parent.reference for parent in parents] == [f"{server.url}#m"]
    with socket.socket() as deaf:  # bound, so that the port is nobody else's, and not listening
        deaf.bind(("127.0.0.1", 0))
        gone = {"critic": RoleSpec(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1#m", "a")}
        with pytest.raises(UserError, match="nobody answers there"):
            open_roles(gone, EngineConfig(slots=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://127.0.0.1/v1", "add the model's name there"),
        ("endpoint:127.0.0.1/v1#m", "begins with http:// or https://"),
        ("http://host:port/v1#m", "Port could not be cast"),
        ("http://me:sesame@host/v1#m", "keep keys and passwords out of its URL"),
        ("http://host/v1?key=sesame#m", "keep keys and passwords out of its URL"),
        ("http://host/v1#m#trys=3", "'trys' is no option of an endpoint; did you mean 'tries'"),
        ("http://host/v1#m#tries", "write #NAME=VALUE"),
        ("http://host/v1#m#tries=two", "tries: should be a valid integer, .*'two'"),
        ("http://host/v1#m#tries=0", "tries: should be greater than or equal to 1, but it is '0'"),
        ("http://host/v1#m#timeout=0", "timeout: should be greater than 0"),
        ("http://host/v1#m#cost_budget=-1", "cost_budget: should be greater than or equal to 0"),
        ("http://host/v1#m#cost_budget=1#price=2", "cost_budget needs prices: add #prompt_price="),
        ("http://host/v1#m#price=nan", "price: should be a finite number"),
    ],
)
def test_a_badly_named_endpoint_is_refused(text, message):
    with pytest.raises(UserError, match=message) as caught:
        EndpointSpec.parse(text)
    assert "sesame" not in str(caught.value)


def test_an_endpoint_is_named_in_one_line(monkeypatch):
    text = "endpoint:https://host/v1/chat/completions#org/a:b@c#key_env=SOME_KEY#timeout=2"
    spec = EndpointSpec.parse(text)
    urls = ("https://host/v1",)
    assert spec == EndpointSpec(urls, "org/a:b@c", key_env="SOME_KEY", timeout=2.0)
    assert spec.reference == "https://host/v1#org/a:b@c"
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(UserError, match="the environment has no SOME_KEY"):
        EndpointRole(spec, family="a")


def test_an_endpoint_can_judge_an_evaluation(server, tmp_path):
    texts = ["fair?", "[filtered]?", "[html]?", "[slow]?"]
    items = tuple(
        BenchmarkItem(f"{n}", f"{n}", "technology", "en", f"Is this {text}")
        for n, text in enumerate(texts)
    )
    answers = tmp_path / "answers.jsonl"
    transcript = [{"key": f"{item.id}/answer", "text": "Some say so."} for item in items]
    answers.write_text("\n".join(map(json.dumps, transcript)), encoding="utf-8")
    benchmark = Benchmark("four", items, frozenset())
    model, judge = RecordedRole(answers), role_of(server)
    charter = load_charter("universal")
    evaluate(Subject(model, [judge], charter, EvaluationSettings()), benchmark, tmp_path / "run")
    scores = {score["id"]: score for score in read_scores(tmp_path / "run")}
    assert [scores[item.id]["score"] for item in items] == [4, None, None, None]
    assert [scores[item.id]["unscored"] for item in items[1:]] == [
        "content filter",
        "not JSON",
        "timeout",
    ]
