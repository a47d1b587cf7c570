"""A role on the local engine."""

import shutil
import time

import pytest

import vcjax
from tests.tiny import CONTEXT
from vcjax.core.errors import UserError
from vcjax.core.lineage import content_hash
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.generate.requests import SamplingParams
from vcjax.roles.cache import CachedRole
from vcjax.roles.local import LocalRole
from vcjax.roles.role import Ask, LikelihoodAsk, scoring

ASKED = ({"role": "user", "content": "Why?"},)


def test_a_local_role_replies_in_the_order_asked_whatever_ends_first(tiny_folder):
    role = LocalRole(ModelPool(EngineConfig(slots=4)), str(tiny_folder), family="tiny")
    asks = [Ask(f"{n}", ASKED, 2 + 5 * (n % 3), temperature=1.0, seed=n) for n in range(6)]
    received = {}
    replies = role.ask(asks, lambda index, reply: received.__setitem__(index, reply))
    assert replies == [role.ask([ask])[0] for ask in asks]
    assert received == dict(enumerate(replies))
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


def test_an_ask_that_does_not_fit_the_context_fails_as_too_long_alone(
    tiny_folder,
):
    role, received = (
        LocalRole(ModelPool(EngineConfig(slots=2)), str(tiny_folder), family="tiny"),
        [],
    )
    long = ({"role": "user", "content": "why " * CONTEXT},)
    asks = [Ask("a", ASKED, 3), Ask("b", long, 3), Ask("c", ASKED, CONTEXT), Ask("d", ASKED, 3)]
    replies = role.ask(asks, lambda *each: received.append(each))
    assert [reply.outcome for reply in replies] == ["ok", "too long", "too long", "ok"]
    assert sorted(received) == list(enumerate(replies))
    assert replies[1].text == ""
    assert replies[1].finish_reason == "too long"
    assert replies[1].prompt_tokens > CONTEXT
    assert f"{CONTEXT} new ones, of a context of {CONTEXT}" in replies[2].detail


def test_a_local_reply_has_the_hash_of_its_weights_and_its_share_of_the_time(tiny_folder):
    role = LocalRole(ModelPool(EngineConfig(slots=2)), str(tiny_folder), family="tiny")
    begun = time.monotonic()
    replies = role.ask([Ask(f"{n}", ASKED, 4, seed=n) for n in range(4)])
    assert 0 < sum(reply.seconds for reply in replies) <= time.monotonic() - begun
    assert {reply.model for reply in replies} == {content_hash(tiny_folder)}


def test_a_local_role_reports_how_likely_answers_are(tiny_folder):
    role = LocalRole(ModelPool(EngineConfig(slots=2)), str(tiny_folder), family="tiny")
    system = ({"role": "system", "content": "Be fair."}, *ASKED)
    asks = [LikelihoodAsk("a", ASKED, ("So.", "No.")), LikelihoodAsk("b", system, ("So.",))]
    received = {}
    scores = scoring(role, "model").log_likelihoods(asks, received.__setitem__)
    assert received == dict(enumerate(scores))
    expected = vcjax.load(str(tiny_folder)).log_likelihood(
        [ASKED, ASKED, system], ["So.", "No.", "So."]
    )
    totals = [total for total, _ in expected]
    assert [*scores[0], *scores[1]] == pytest.approx(totals, abs=1e-4)
    with pytest.raises(UserError, match=f"^'b': .* don't fit the model's context of {CONTEXT}"):
        role.log_likelihoods([asks[0], LikelihoodAsk("b", ASKED, ("why " * CONTEXT,))])


def test_a_role_that_cannot_report_likelihoods_is_named_with_its_field(tiny_folder):
    role = LocalRole(ModelPool(EngineConfig(slots=2)), str(tiny_folder), family="tiny")
    with pytest.raises(UserError, match=r"config\.model: .* doesn't report the log-likelihoods"):
        scoring(CachedRole(role, {}), "model")
