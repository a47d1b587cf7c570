"""The cost of a large synthesis run, from the measured cost of a small one."""

import pytest

from configs.synthesize import get_config
from tests.scripts import ran
from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.model.build import NAMED
from vcjax.model.flops import parameters
from vcjax.plan.synthesis import plan_synthesis, read_spent
from vcjax.plan.topology import read_topology


def usage(role: str, calls: int, read: int, written: int) -> dict:
    return {"role": role, "calls": calls, "prompt_tokens": read, "tokens": written}


@pytest.fixture
def summary(tmp_path):
    rows = [
        usage("attacker", 20, 4_000, 600),
        usage("actor", 40, 8_000, 6_000),
        usage("critic", 30, 20_000, 3_000),
        usage("critic", 10, 4_000, 1_000),  # of another model
    ]
    write_json(tmp_path / "summary.json", {"accepted": 10, "usage": rows})
    return tmp_path / "summary.json"


def config(**models: str) -> dict:
    chosen = {"attacker": "llama3-8b", "actor": "llama3-8b", "critic": "llama3-70b"}
    return {**get_config().to_dict(), **chosen, **models}


def test_tokens_are_counted_by_the_accepted_pair(summary):
    attacker, actor, critic = read_spent(summary)
    assert (attacker.calls, attacker.read, attacker.written) == (2, 400, 60)
    assert (actor.read, actor.written) == (800, 600)
    assert (critic.calls, critic.read, critic.written) == (4, 2_400, 400)


def test_a_model_lies_on_as_many_devices_as_it_needs_and_the_rest_hold_copies(summary):
    shares = plan_synthesis(config(), read_spent(summary), 64_000, read_topology("h100x8"))
    assert [share.devices for share in shares] == [1, 1, 2]
    # Memory bounds the writing: 16 rows a copy while 16 GB of weights are read.
    weights = 2 * parameters(NAMED["llama3-8b"])
    most = 8 * 16 / (weights / (0.8 * 3350e9))
    assert 0.8 * most < shares[1].written_rate < most


def test_hours_grow_with_the_pairs_and_shrink_with_the_devices(summary):
    def hours(accepted: int, topology: str) -> float:
        shares = plan_synthesis(config(), read_spent(summary), accepted, read_topology(topology))
        return sum(share.hours for share in shares)

    assert hours(2_000, "h100x8") == pytest.approx(2 * hours(1_000, "h100x8"))
    assert hours(1_000, "h100x16") == pytest.approx(hours(1_000, "h100x8") / 2)


@pytest.mark.parametrize(
    ("models", "topology", "message"),
    [
        ({"critic": "llama3-70b"}, "v5e-4", "config.critic: llama3-70b .* more than v5e-4 has"),
        ({}, "cpu:8", "no table has the peaks"),
        ({"critic": "http://localhost:1/v1#x"}, "h100x8", "isn't run on the hardware"),
    ],
)
def test_what_cannot_be_planned_is_said(summary, models, topology, message):
    with pytest.raises(UserError, match=message):
        plan_synthesis(config(**models), read_spent(summary), 1, read_topology(topology))


def test_the_script_plans_a_synthesis_config(summary, tmp_path, script_cache):
    arguments = [
        *("--config=configs/synthesize.py", "--topology=h100x8", "--config.attacker=llama3-8b"),
        *("--config.actor=llama3-8b", "--config.critic=llama3-70b", f"--measured={summary}"),
    ]
    code, out, error = ran("plan", arguments, script_cache)
    assert (code, error) == (0, "")
    assert "64,000 accepted" in out
    assert "device hours" in out
    code, _, error = ran("plan", arguments[:-1], script_cache)
    assert (code, error.splitlines()[-1][:17]) == (2, "error: --measured")
    write_json(tmp_path / "none.json", {"accepted": 0, "usage": []})
    with pytest.raises(UserError, match="no pair was accepted"):
        read_spent(tmp_path / "none.json")
    write_json(tmp_path / "other.json", {"steps": 3})
    with pytest.raises(UserError, match=r"isn't a synthesis run's summary\.json"):
        read_spent(tmp_path / "other.json")
