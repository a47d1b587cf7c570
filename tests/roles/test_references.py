"""Who is asked: a transcript, the local engine, and how a config refers to them."""

import json
import shutil
import time

import pytest

from tests.tiny import CONTEXT
from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.core.lineage import content_hash
from vcjax.generate.model_pool import EngineConfig, ModelPool
from vcjax.generate.requests import SamplingParams
from vcjax.roles.local import LocalRole
from vcjax.roles.recorded import RecordedRole
from vcjax.roles.references import RoleSpec, family_of, open_roles
from vcjax.roles.role import Ask, Reply

ASKED = ({"role": "user", "content": "Why?"},)


def lines(path, *records):
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def test_a_recorded_role_answers_by_key(tmp_path):
    path = lines(
        tmp_path / "said.jsonl",
        {"key": "a", "text": "One."},
        {"key": "b", "text": "Tw", "finish_reason": "length"},
    )
    role, told = RecordedRole(path, family="llama3"), []
    replies = role.ask([Ask(key, ASKED, 5) for key in "ba"], lambda *each: told.append(each))
    assert [(reply.text, reply.finish_reason) for reply in replies] == [
        ("Tw", "length"),
        ("One.", "stop"),
    ]
    assert told == list(enumerate(replies))
    assert (role.family, role.model) == ("llama3", "recorded:said.jsonl")


def test_a_transcript_may_say_how_an_ask_ended_and_what_it_cost(tmp_path):
    path = lines(
        tmp_path / "said.jsonl",
        {"key": "a", "outcome": "timeout", "detail": "after 9 s", "seconds": 9},
        {"key": "b", "text": "One.\ud800", "tokens": 3, "prompt_tokens": 7, "cost": 0.5},
    )
    timeout, one = RecordedRole(path).ask([Ask("a", ASKED, 5), Ask("b", ASKED, 5)])
    assert timeout == Reply.failed("timeout", "after 9 s")
    assert (timeout.text, timeout.finish_reason, timeout.seconds) == ("", "timeout", 9)
    assert one == Reply("One.?", "stop", 7, 3, cost=0.5)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"key": "a", "text": "Again."}, ":2: the key 'a' comes twice"),
        ({"key": "b"}, ":2: a recorded reply needs `key` and `text`"),
        ([1], ":2: a recorded reply needs `key` and `text`"),
        ({"key": "b", "outcome": "ok"}, ":2: a recorded reply needs `key` and `text`"),
        ({"key": "b", "text": 5}, ":2: `text` must be a string, not 5"),
        ({"key": "b", "text": "", "finish_reason": 1}, ":2: `finish_reason` must be a string"),
        ({"key": "b", "text": "", "tokens": 1.5}, ":2: `tokens` must be a number, not 1.5"),
        ({"key": "b", "text": "", "cost": True}, ":2: `cost` must be a number, not True"),
    ],
)
def test_a_bad_transcript_is_refused_with_its_line(tmp_path, second, message):
    path = lines(tmp_path / "said.jsonl", {"key": "a", "text": "One."}, second)
    with pytest.raises(UserError) as caught:
        RecordedRole(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_a_key_that_was_never_recorded_is_a_mistake_before_anything_is_told(tmp_path):
    role, told = RecordedRole(lines(tmp_path / "said.jsonl", {"key": "a", "text": "One."})), []
    with pytest.raises(UserError, match=r"said\.jsonl: no reply recorded for 'b'"):
        role.ask([Ask("a", ASKED, 5), Ask("b", ASKED, 5)], lambda *each: told.append(each))
    assert told == []


def test_a_local_role_replies_in_the_order_asked_whatever_ends_first(tiny_folder):
    role = LocalRole(ModelPool(EngineConfig(slots=4)), str(tiny_folder), family="tiny")
    asks = [Ask(f"{n}", ASKED, 2 + 5 * (n % 3), temperature=1.0, seed=n) for n in range(6)]
    told = {}
    replies = role.ask(asks, lambda index, reply: told.__setitem__(index, reply))
    assert replies == [role.ask([ask])[0] for ask in asks]
    assert told == dict(enumerate(replies))
    assert len({reply.text for reply in replies}) > 3
    rendered = role.text.request(ASKED, SamplingParams()).prompt
    assert {reply.prompt_tokens for reply in replies} == {len(rendered)}
    assert all(reply.tokens <= ask.max_tokens for ask, reply in zip(asks, replies, strict=True))


def test_models_that_do_not_fit_together_answer_in_turns(tiny_folder, tmp_path):
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    alone = ModelPool(EngineConfig(slots=2))
    first = LocalRole(alone, str(tiny_folder), family="tiny")
    asks = [Ask("a", ASKED, 6)]
    wanted = first.ask(asks)
    room = sum(one.weights + one.state for one in alone.plan())
    pool = ModelPool(EngineConfig(slots=2), memory=int(1.5 * room))
    roles = [LocalRole(pool, str(folder), family="tiny") for folder in (tiny_folder, other)]
    for role in (*roles, *roles):
        assert role.ask(asks)[0].text == wanted[0].text
        assert [one.reference for one in pool.plan()] == [role.model]


def test_an_ask_that_does_not_fit_the_context_ends_as_too_long_and_the_others_go_on(tiny_folder):
    role, told = LocalRole(ModelPool(EngineConfig(slots=2)), str(tiny_folder), family="tiny"), []
    long = ({"role": "user", "content": "why " * CONTEXT},)
    asks = [Ask("a", ASKED, 3), Ask("b", long, 3), Ask("c", ASKED, CONTEXT), Ask("d", ASKED, 3)]
    replies = role.ask(asks, lambda *each: told.append(each))
    assert [reply.outcome for reply in replies] == ["ok", "too long", "too long", "ok"]
    assert sorted(told) == list(enumerate(replies))
    assert replies[1].text == ""
    assert replies[1].finish_reason == "too long"
    assert replies[1].prompt_tokens > CONTEXT
    assert f"{CONTEXT} new ones, of a context of {CONTEXT}" in replies[2].detail


def test_a_local_reply_says_which_weights_it_is_from_and_its_share_of_the_time(tiny_folder):
    role = LocalRole(ModelPool(EngineConfig(slots=2)), str(tiny_folder), family="tiny")
    begun = time.monotonic()
    replies = role.ask([Ask(f"{n}", ASKED, 4, seed=n) for n in range(4)])
    assert 0 < sum(reply.seconds for reply in replies) <= time.monotonic() - begun
    assert {reply.model for reply in replies} == {content_hash(tiny_folder)}


def test_a_family_is_declared_or_known(tmp_path):
    assert family_of(RoleSpec("any/model", "llama3"), "actor_family") == "llama3"
    assert family_of(RoleSpec("smollm2-135m-instruct"), "actor_family") == "smollm2"
    model = "smollm2-135m-instruct"
    for name in ("cpt", "sft"):  # each was trained from the one before
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        write_json(tmp_path / name / "config.json", {"model": model})
        model = str(tmp_path / name)
    assert family_of(RoleSpec(model), "actor_family") == "smollm2"


def test_an_unknown_family_is_asked_for_by_the_field_s_name(tmp_path, tiny_folder):
    (tmp_path / "checkpoints").mkdir()
    write_json(tmp_path / "config.json", {"model": str(tmp_path)})  # of itself: no end to follow
    for model in ("recorded:x.jsonl", str(tiny_folder), str(tmp_path)):
        with pytest.raises(UserError, match=r"config\.critic_family: declare the model family"):
            family_of(RoleSpec(model), "critic_family")


def test_one_model_in_two_roles_is_loaded_once(tiny_folder, tmp_path):
    path = lines(tmp_path / "said.jsonl", {"key": "a", "text": "One."})
    specs = {
        "attacker": RoleSpec(str(tiny_folder), "tiny"),
        "actor": RoleSpec(str(tiny_folder), "tiny"),
        "critic": RoleSpec(f"recorded:{path}", "person"),
    }
    roles, parents = open_roles(specs, EngineConfig(slots=2))
    assert roles["attacker"] is roles["actor"]
    assert {name: role.family for name, role in roles.items()} == {
        "attacker": "tiny",
        "actor": "tiny",
        "critic": "person",
    }
    assert [(parent.role, parent.reference) for parent in parents] == [
        ("attacker", str(tiny_folder)),
        ("critic", f"recorded:{path}"),
    ]
    assert all(parent.hash for parent in parents)
