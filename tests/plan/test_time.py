"""The roofline follows its inputs, and the advice makes a run fit that doesn't."""

import pytest

from vcjax.core.hardware import HARDWARE
from vcjax.plan import advice
from vcjax.plan.advice import advise, fastest
from vcjax.plan.memory import count_memory
from vcjax.plan.time import link_seconds, step_time

FULL = {"rank": 0}


@pytest.fixture(scope="session")
def timed(laid_out):
    """A function like `laid_out` that returns the roofline."""

    def make(*args, **changes):
        setting = laid_out(*args, **changes)
        return step_time(setting, count_memory(setting), setting.topology.hardware)

    return make


def test_operations_are_those_of_the_formulas(timed):
    """Six for each parameter and token, without the embedding; attention comes on top."""
    took = timed("8b", "v5e-64", lora=FULL)
    tokens, weights = 64 * 4096, 8.03e9 - 128_256 * 4096
    assert 6 * weights * tokens < took.useful < 1.1 * 6 * weights * tokens
    frozen = timed("8b", "v5e-64")
    assert frozen.useful == pytest.approx(took.useful * 2 / 3, rel=0.05)


def test_full_remat_computes_the_layers_again(timed):
    took = timed("8b", "v5e-64", lora=FULL)
    assert 1.25 < took.done / took.useful < 4 / 3
    kept = timed("8b", "v5e-64", lora=FULL, remat="projections")
    assert kept.done < took.done
    assert kept.useful == took.useful


def test_matmuls_wait_for_the_peak(timed):
    took = timed("8b", "v5e-64")
    assert took.matmuls == pytest.approx(took.done / 64 / 0.75 / HARDWARE["v5e"].flops)
    low, high = (timed("8b", "h100x8", dtype=d, length=256) for d in ("bfloat16", "float32"))
    assert high.matmuls == pytest.approx(2 * low.matmuls, rel=0.01)
    low, high = (timed("1b", "t4x1", dtype=d, length=256) for d in ("bfloat16", "float32"))
    assert high.matmuls == low.matmuls  # it has no units for bfloat16


def test_weights_come_over_the_links_once_forward_and_once_backward(laid_out):
    """A small slice without rings has half of the links at its corners."""
    setting = laid_out("8b", "v5e-64")
    least = 2 * 8.03e9 * 2 * 63 / 64 / (0.8 * 200e9 / 2)
    assert least < link_seconds(setting, HARDWARE["v5e"]) < 1.05 * least
    alone = laid_out("1b", "v5e-1")
    assert link_seconds(alone, HARDWARE["v5e"]) == 0


def test_gpus_beyond_a_node_wait_for_the_network(laid_out):
    near = link_seconds(laid_out("8b", "h100x8"), HARDWARE["h100"])
    far = link_seconds(laid_out("8b", "h100x16"), HARDWARE["h100"])
    assert far > near


def test_a_knob_that_is_enough_is_offered_alone(laid_out):
    setting = laid_out("8b", "v5e-64", lora=FULL, remat="none")
    held, limit = count_memory(setting), HARDWARE["v5e"].memory
    assert held.total > limit
    knobs = {knob.flags: knob for knob in advise(setting, held.total, limit)}
    assert all(knob.fits for knob in knobs.values())
    assert "--config.remat=full" in knobs
    told = count_memory(laid_out("8b", "v5e-64", lora=FULL)).total
    assert knobs["--config.remat=full"].needed == pytest.approx(told)


def test_knobs_that_are_not_enough_are_turned_together(laid_out):
    setting = laid_out("70b", "v5e-64", lora=FULL, remat="none")
    held, limit = count_memory(setting), HARDWARE["v5e"].memory
    (knob,) = advise(setting, held.total, limit)
    assert knob.flags.startswith("--config.remat=full ")
    assert knob.flags.count("--config.remat") == 1
    assert knob.needed < held.total / 4


def test_room_to_spare_is_used_to_compute_less_again(laid_out):
    setting, hardware = laid_out("8b", "v5e-64"), HARDWARE["v5e"]
    held = count_memory(setting)
    choice = fastest(setting, held.total, hardware.memory, hardware)
    assert choice.flags == "--config.remat=projections"
    changed = laid_out("8b", "v5e-64", remat="projections")
    assert held.total < choice.needed == count_memory(changed).total <= hardware.memory
    assert choice.time.most < step_time(setting, held, hardware).most
    tight = fastest(setting, held.total, held.total, hardware)
    assert tight.flags == ""
    assert fastest(setting, held.total, held.total // 4, hardware) is None


def test_a_search_traces_few_of_many_settings(laid_out, monkeypatch):
    """Whatever is slower than the best so far needs no account of its activations."""
    setting, hardware, counted = laid_out("8b", "v5e-64"), HARDWARE["v5e"], []

    def count(other):
        counted.append(other.config)
        return count_memory(other)

    monkeypatch.setattr(advice, "count_memory", count)
    assert len(list(advice._same_training(setting))) > 10
    assert fastest(setting, count_memory(setting).total, hardware.memory, hardware) is not None
    assert len(counted) <= 5


def test_a_state_goes_to_the_host_where_nothing_faster_fits(laid_out):
    """Microbatches can't shrink parameters, gradients and moments."""
    setting, hardware = laid_out("8b", "v5e-8", lora=FULL, batch_size=8), HARDWARE["v5e"]
    needed = count_memory(setting).total
    assert needed > hardware.memory
    choice = fastest(setting, needed, hardware.memory, hardware)
    assert "--config.offload=True" in choice.flags.split()
    assert choice.time.host == pytest.approx(2 * 8 * 8.03e9 / 8 / 16e9, rel=0.01)
