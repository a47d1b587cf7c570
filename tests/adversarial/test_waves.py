"""Attempts that advance as replies come: what they decide, whatever the order, and how full the
slots are."""

import sqlite3

import pytest

from tests.adversarial.timed import Clock, TimedRole, decisions, said, timed_pipeline
from vcjax.adversarial import pipeline as pipelines
from vcjax.adversarial.attacks.style import choose_attacks
from vcjax.adversarial.calls import Opened
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.core.errors import GateNotMet
from vcjax.core.seeds import derive_seed
from vcjax.roles.occupancy import Occupancy

KINDS = ("dilemma", "opposing_framings", "gradual_escalation", "iterative_refinement")
"""An attack of each kind of turns."""
ROLES = ("attacker", "actor", "critic")
QUOTA = {"per_cell": 1, "cell_attempts": 6}


@pytest.fixture
def made(charter, tmp_path):
    """A function that runs attacks on timed roles; returns what was decided and called."""

    def run(name, attacks, roles, occupancy=None, **settings):
        settings = {"attempts": 24, "wave": 8, "attacker_tries": 2} | settings
        path = tmp_path / f"{name}.sqlite"
        run = timed_pipeline(charter, choose_attacks(attacks), path, roles, occupancy, **settings)
        with run.ledger, run:
            run.run()
        return recorded(path)

    return run


def recorded(path):
    with Ledger(path) as ledger:
        decided = decisions(ledger)
    with sqlite3.connect(path) as connection:
        columns = "attempt, stage, prompt_hash, seed, text"
        return decided, sorted(connection.execute(f"SELECT {columns} FROM calls"))


def alike(**options):
    """The roles of one model."""
    return dict.fromkeys(ROLES, TimedRole(Clock(), **options))


def few_words(ask):
    return said(ask, repeats=6)


def drawn(seed):
    """Times that differ by a factor of a hundred, and not by role."""
    return lambda ask: 0.01 * (1 + derive_seed(ask.key, seed) % 100)


def in_steps(caller, begin, *, on_opened, on_decided):
    """Waves as a barrier, the meaning of what the real ones decide: one at a time, of which all
    attempts take each step together."""
    while (scripts := begin()) is not None:
        openings, results = [""] * len(scripts), {}
        replies = dict.fromkeys(range(len(scripts)))
        while replies:
            wanted = {}
            for index, given in replies.items():
                try:
                    step = next(scripts[index]) if given is None else scripts[index].send(given)
                    while isinstance(step, Opened):
                        openings[index] = step.text
                        step = scripts[index].send([])
                    wanted[index] = step
                except StopIteration as end:
                    results[index] = end.value
            flat = iter(caller.ask([call for calls in wanted.values() for call in calls]))
            replies = {index: [next(flat) for _ in calls] for index, calls in wanted.items()}
        on_opened(openings)
        on_decided([results[index] for index in range(len(scripts))])


@pytest.mark.parametrize("quota", [{}, QUOTA, QUOTA | {"ahead": 2}])
def test_whatever_the_order_of_replies_all_is_decided_as_wave_after_wave(made, monkeypatch, quota):
    found = []
    for seed in range(2):
        roles = {
            name: TimedRole(Clock(), 3 + 5 * seed, drawn(seed), few_words, name) for name in ROLES
        }
        for role in roles.values():
            role.clock = roles["actor"].clock
        found.append(made(f"{seed}", KINDS, roles, attempts=40, **quota))
    monkeypatch.setattr(pipelines, "run_waves", in_steps)
    wanted = made("steps", KINDS, alike(says=few_words), attempts=40, **quota)
    assert found == [wanted] * 2
    faults = {row["attacker_fault"] for row in wanted[0]}
    assert {"asked before", None} <= faults
    assert quota or {"asked before in its wave", "not a question"} <= faults
    assert {row["kind"] for row in wanted[0]} == {"accepted", "rejected"}
    # Refined queries don't know of each other until they are decided.
    repeated = {row["attack"] for row in wanted[0] if row["reason"] == "attacker: asked before"}
    assert quota or {"dilemma", "iterative_refinement"} <= repeated


@pytest.mark.parametrize(
    "attacks", [("dilemma", "false_premise"), ("dilemma", "persona", "iterative_refinement")]
)
def test_nine_tenths_of_the_time_of_sixteen_slots_is_used(made, attacks):
    roles = alike()
    role, counted = roles["actor"], Occupancy(lambda: roles["actor"].clock.now)
    made("full", attacks, roles, counted, attempts=128, wave=16, attacker_tries=1)
    assert len(role.asked) > 400
    assert role.clock.occupancy(16) > 0.9
    (found,) = counted.summary()
    assert found["busy"] == pytest.approx(role.clock.occupancy(16))
    assert (found["slots"], found["calls"]) == (16, len(role.asked))
    assert sorted(found["roles"]) == sorted(ROLES)


def test_with_quotas_slots_are_as_full_where_waves_begin_ahead(made):
    occupancy = {}
    for ahead in (0, 6):
        roles = alike()
        settings = {"attempts": 64, "wave": 8, "per_cell": 9, "ahead": ahead, "attacker_tries": 1}
        made(f"{ahead}", ("dilemma", "persona"), roles, **settings)
        occupancy[ahead] = roles["actor"].clock.occupancy(16)
    assert occupancy[0] < 0.65
    assert occupancy[6] > 0.8


def test_a_role_works_while_another_one_does(made):
    clock, taken = Clock(), {"attacker": 0.1, "actor": 0.1, "critic": 1.0}
    roles = {name: TimedRole(clock, 4, lambda ask, s=s: s, said, name) for name, s in taken.items()}
    counted = Occupancy(lambda: clock.now)
    made("slow", ("dilemma",), roles, counted, attempts=24)
    # One after the other they would take the sum.
    busy = {name: len(role.asked) * taken[name] / 4 for name, role in roles.items()}
    found = {each["roles"][0]: each["busy"] for each in counted.summary()}
    assert found == {name: pytest.approx(own / clock.now) for name, own in busy.items()}
    assert max(busy.values()) == busy["critic"] <= clock.now < 1.15 * busy["critic"]
    # It writes for later waves while earlier ones are judged, but not for all of them.
    attempts = [key.partition("/")[0] for key in roles["attacker"].asked]
    assert len(set(attempts)) == 24


@pytest.mark.parametrize(("replies", "settings"), [(40, {}), (40, QUOTA | {"wave": 4, "ahead": 1})])
def test_a_run_that_ends_in_the_midst_of_calls_repeats_none_and_decides_the_same(
    made, replies, settings
):
    wanted = made("whole", KINDS, alike(says=few_words), **settings)

    def dies(ask):
        if len(roles["actor"].asked) > replies:
            raise GateNotMet("the end")
        return few_words(ask)

    roles = alike(says=dies, seconds=drawn(1))
    with pytest.raises(GateNotMet, match="the end"):
        made("cut", KINDS, roles, **settings)
    role = roles["actor"]
    again = alike(says=few_words, seconds=drawn(2))
    assert made("cut", KINDS, again, **settings) == wanted
    # Those that were under way at the end had no reply yet.
    answered = len(wanted[1]) - len(again["actor"].asked)
    assert replies - role.slots < answered <= replies
    assert len(again["actor"].asked) == len(set(again["actor"].asked))
