"""The cost of a large synthesis run, from the measured cost of a small one."""

import pytest

from configs.synthesize import get_config
from tests.docs.pages import blocks, commands
from tests.processes import ROOT
from tests.scripts import ran
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.hardware import HARDWARE
from vcjax.generate.cache import PREFIX_TOKENS
from vcjax.model.build import NAMED
from vcjax.model.flops import parameters
from vcjax.plan.synthesis import Share, plan_synthesis, read_measured
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
    curve = [{"attempts": n, "accepted": k} for n, k in ((10, 6), (20, 8), (30, 9), (40, 10))]
    found = {"attempts": 40, "accepted": 10, "usage": rows, "yield_curve": curve}
    found["topics"] = {"topics": 80, "prompts": 1360, "left_out": {}}
    write_json(tmp_path / "summary.json", found)
    return tmp_path / "summary.json"


def config(**models: str) -> dict:
    chosen = {"attacker": "llama3-8b", "actor": "llama3-8b", "critic": "llama3-70b"}
    return {**get_config().to_dict(), **chosen, **models}


def test_tokens_are_counted_by_the_attempt(summary):
    attacker, actor, critic = read_measured(summary).spent
    assert (attacker.calls, attacker.read, attacker.written) == (0.5, 100, 15)
    assert (actor.read, actor.written) == (200, 150)
    assert (critic.calls, critic.read, critic.written) == (1, 600, 100)


def test_a_larger_run_needs_attempts_at_the_yield_of_the_measured_run_s_last_half(summary):
    measured = read_measured(summary)
    assert measured.late_yield == pytest.approx(2 / 20)
    assert measured.attempts_for(5) == pytest.approx(20)
    assert measured.attempts_for(10) == pytest.approx(40)
    assert measured.attempts_for(64_000) == pytest.approx(40 + 63_990 * 10)
    before = read_json(summary)
    del before["yield_curve"]  # of an earlier version
    write_json(summary, before)
    assert read_measured(summary).attempts_for(64_000) == pytest.approx(64_000 * 4)


def test_a_run_whose_last_half_gave_nothing_plans_nothing(summary):
    found = read_json(summary)
    found["yield_curve"] = [{"attempts": n, "accepted": 10} for n in (20, 40)]
    write_json(summary, found)
    with pytest.raises(UserError, match="no pair was accepted in the last half of its 40 attempts"):
        read_measured(summary)


def test_every_device_has_an_engine_and_more_share_a_copy_where_a_model_needs_them(summary):
    def planned(**chosen) -> list[Share]:
        measured, topology = read_measured(summary), read_topology("h100x8")
        return plan_synthesis({**config(), **chosen}, measured, 64_000, topology)

    small = planned(slots=16, context=4096, critic="llama3.2-1b")
    assert [share.devices for share in small] == [1, 1, 1]
    # Memory bounds the writing: 16 rows a copy while 16 GB of weights are read.
    weights = 2 * parameters(NAMED["llama3-8b"])
    most = 8 * 16 / (weights / (0.8 * 3350e9))
    assert 0.8 * most < small[1].written_rate < most
    assert [share.devices for share in planned()] == [4, 4, 4]
    assert [share.devices for share in planned(tensor=8)] == [8, 8, 8]


def test_the_cache_is_counted_as_a_run_plans_it(summary):
    measured, topology = read_measured(summary), read_topology("h100x8")
    alone = {**config(), "critic": "llama3-8b"}
    (share, *_) = plan_synthesis({**alone, "slots": 16, "context": 8192}, measured, 1, topology)
    weights = 2 * parameters(NAMED["llama3-8b"])
    cache = (16 * 8192 + PREFIX_TOKENS) * 2 * 2 * 32 * 8 * 128
    logits = 8 * 16 * 128_256
    assert share.memory == weights + cache + logits
    (share, *_) = plan_synthesis(alone, measured, 1, topology)
    assert share.room.slots > 64
    assert 0.8 < share.memory / (0.9 * HARDWARE["h100"].memory) <= 1


def test_hours_grow_with_the_pairs_and_shrink_with_the_devices(summary):
    def hours(accepted: int, topology: str) -> float:
        measured = read_measured(summary)
        shares = plan_synthesis(config(), measured, accepted, read_topology(topology))
        return sum(share.hours for share in shares)

    assert hours(4, "h100x8") == pytest.approx(2 * hours(2, "h100x8"))
    assert hours(2_010, "h100x8") == pytest.approx(20_040 / 10_040 * hours(1_010, "h100x8"))
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
        plan_synthesis(config(**models), read_measured(summary), 1, read_topology(topology))


def test_the_script_plans_a_synthesis_config(summary, tmp_path, script_cache):
    arguments = [
        *("--config=configs/synthesize.py", "--topology=h100x8", "--config.attacker=llama3-8b"),
        *("--config.actor=llama3-8b", "--config.critic=llama3-70b", f"--measured={summary}"),
    ]
    code, out, error = ran("plan", arguments, script_cache)
    assert (code, error) == (0, "")
    assert "64,000 accepted, of 639,940 attempts" in out
    assert "1,360 different ones to the Attacker, each 471 times" in out
    assert "25.0% of 40 measured attempts, 10.0% of their last half" in out
    assert "device hours" in out
    assert "2 of each model, on 4 device(s) each, one queue" in out
    assert "needs --config.tensor=4" in out
    code, _, error = ran("plan", arguments[:-1], script_cache)
    assert (code, error.splitlines()[-1][:17]) == (2, "error: --measured")
    write_json(tmp_path / "none.json", {"attempts": 0, "accepted": 0, "usage": []})
    with pytest.raises(UserError, match="no pair was accepted"):
        read_measured(tmp_path / "none.json")
    write_json(tmp_path / "other.json", {"steps": 3})
    with pytest.raises(UserError, match=r"isn't a synthesis run's summary\.json"):
        read_measured(tmp_path / "other.json")


def test_the_guide_has_the_plan_of_the_run_that_it_shows(tmp_path, script_cache):
    """The figures are of the run of `configs/synthesize.py:demo` whose end the guide prints."""
    path = tmp_path / "summary.json"
    rows = [usage("actor", 556, 153_274, 72_916), usage("attacker", 497, 127_094, 20_028)]
    curve = [{"attempts": 136, "accepted": 42}, {"attempts": 274, "accepted": 78}]
    counts = {"attempts": 274, "accepted": 78, "topics": {"prompts": 288}}
    write_json(path, {**counts, "usage": rows, "yield_curve": curve})
    page = ROOT / "docs" / "guides" / "adversarial_data.md"
    guide = list(blocks(page))
    (command,) = (block for block in guide if "launch.plan" in block.text)
    printed = guide[guide.index(command) + 1].text.splitlines()
    ((python, _, script, *arguments),) = commands(command)
    assert (python, script) == ("python", "launch.plan")
    given = [each for each in arguments if not each.startswith("--measured=")]
    code, out, error = ran("plan", [*given, f"--measured={path}"], script_cache)
    assert (code, error) == (0, "")
    assert out.splitlines()[: len(printed)] == printed
    code, out, _ = ran("plan", [*given, "--config.slots=16", f"--measured={path}"], script_cache)
    hours = next(line for line in out.splitlines() if line.startswith("in all")).split()[2]
    assert f"the same plan takes {hours} h" in page.read_text(encoding="utf-8")
