"""A plan from the configuration to its last line, and `launch.plan` as a user runs it."""

import re

import pytest

from configs import adversarial, cpt, sft
from tests.processes import launched
from tests.scripts import ran
from vcjax.core.errors import UserError
from vcjax.model.build import NAMED
from vcjax.plan.memory import count_memory
from vcjax.plan.plan import make_plan
from vcjax.plan.setting import plan_config, read_shape, settle
from vcjax.plan.table import lines
from vcjax.plan.topology import read_topology
from vcjax.weights.resolve import resolve


@pytest.fixture
def plan():
    """A function from a topology, a variant of `configs/sft.py` and changes to a plan."""

    def make(topology: str, variant: str = "8b", beside=(), stage=sft, **changes):
        values = stage.get_config(variant).to_dict()
        for name, value in changes.items():
            values[name] = {**values[name], **value} if isinstance(value, dict) else value
        config = plan_config(values)
        return make_plan(
            read_shape(config.model), config, read_topology(topology), beside, compile=False
        )

    return make


def test_the_paper_s_setting_fits_a_slice_and_says_how_long_it_takes(plan):
    made = plan("v5e-64")
    text = "\n".join(lines(made))
    assert made.fits
    assert "llama3-8b: 8.03 B parameters, LoRA of rank 16 on .*, 41.9 M trained" in text
    assert re.search(r"fits: \d+\.\d\d GiB of 15\.75 to spare", text)
    assert re.search(r"adversarial +0\.\d+ to 0\.\d+ h for 64 k pairs", text)
    assert "assumed: 75% of the peak in matmuls" in text
    assert "counted from shapes" in text
    assert re.search(r"fastest that fits: --config\.remat=projections: about 13\.\d\d GiB", text)


def test_a_run_that_doesnt_fit_says_by_how_much_and_what_to_turn(plan):
    made = plan("v5e-64", lora={"rank": 0}, remat="none")
    text = "\n".join(lines(made))
    assert not made.fits
    assert re.search(r"doesn't fit: \d+\.\d\d GiB more than the 15\.75", text)
    assert re.search(r"--config\.remat=full: about \d\.\d\d GiB, fits", text)


def test_a_batch_that_devices_cant_share_out_is_told_and_planned_larger(plan):
    """What `train` would refuse: the plan of the demo's 8 rows on 64 chips goes on with 64."""
    made = plan("v5e-64", "demo", model="llama3-8b")
    assert made.setting.config.batch_size == 64
    assert "config.batch_size 8 can't be shared out" in "\n".join(lines(made))


def test_models_beside_the_trained_one_are_counted(plan):
    alone, beside = plan("h100x8"), plan("h100x8", beside=(NAMED["llama3-8b"],))
    assert beside.needed - alone.needed == pytest.approx(2 * 8.03e9 / 8, rel=0.01)
    assert "models beside it" in "\n".join(lines(beside))


def test_a_gpu_is_counted_and_not_compiled_for(plan):
    assert "not compiled: that needs the GPU itself" in "\n".join(lines(plan("h200x8")))
    config = plan_config(sft.get_config("8b").to_dict())
    with pytest.raises(UserError, match="can't be compiled for without the GPU"):
        make_plan(NAMED["llama3-8b"], config, read_topology("h200x8"), compile=True)


@pytest.mark.parametrize("variant", ["1b", "qlora"])
@pytest.mark.parametrize(("topology", "dtype"), [("t4x1", "float32"), ("l4x1", "bfloat16")])
def test_the_variants_for_one_gpu_fit_it(variant, topology, dtype):
    """A T4, with 16 GB, has no bfloat16; an L4 is the card of 24 GB that leaves the least."""
    config = plan_config({**sft.get_config(variant).to_dict(), "dtype": dtype})
    setting = settle(read_shape(config.model), config, read_topology(topology))
    assert count_memory(setting).total <= setting.topology.hardware.memory
    for stage in (cpt, adversarial):  # of the same shape, so they fit it too
        other = plan_config({**stage.get_config(variant).to_dict(), "dtype": dtype})
        for field in ("model", "batch_size", "microbatches", "length", "lora", "remat"):
            assert getattr(other, field) == getattr(config, field)


def test_pairs_are_two_rows_each(plan):
    made = plan("v5e-64", stage=adversarial, objective="orpo")
    assert made.setting.config.rows == 2 * made.setting.config.batch_size
    assert "orpo on 128 rows" in "\n".join(lines(made))


def test_a_shape_comes_from_a_name_or_from_files(tiny_folder, tiny):
    assert read_shape("llama3-70b").num_layers == 80
    assert read_shape(str(tiny_folder)) == tiny.config
    with pytest.raises(UserError, match="llama3-8b: a shape without weights"):
        resolve("llama3-8b")


def test_rows_beyond_the_models_positions_are_refused(plan):
    with pytest.raises(UserError, match=r"config\.length: 16384 is beyond the 8192 positions"):
        plan("v5e-64", length=16384)


def test_a_step_is_compiled_for_virtual_devices(tiny_folder, script_cache):
    arguments = [
        "--config=configs/sft.py",
        f"--config.model={tiny_folder}",
        "--config.lora.rank=0",
        "--config.length=32",
        "--topology=cpu:8",
    ]
    code, out, error = launched("plan", arguments, script_cache)
    assert code == 0, error
    assert "8 virtual devices on this CPU" in out
    assert "compiled: the real step, for cpu:8" in out
    counted, found = map(float, re.search(r"given to the step +([\d.]+) +([\d.]+)", out).groups())
    assert found == pytest.approx(counted, rel=0.1, abs=2e-3)


def test_a_run_that_doesnt_fit_ends_with_3(script_cache):
    arguments = ["--config=configs/sft.py:70b", "--topology=v5e-4", "--nocompile"]
    code, out, error = ran("plan", arguments, script_cache)
    assert code == 3
    assert error.startswith("not met: v5e-4: short of ")
    assert "take more devices" in out
