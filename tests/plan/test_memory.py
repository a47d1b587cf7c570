"""A plan counts the arrays' real sizes, and the residuals that the backward pass keeps."""

import pytest

from vcjax.model.flops import parameters
from vcjax.plan.memory import count_memory

FULL = {"rank": 0}


def test_full_training_holds_three_float32_numbers_a_parameter(laid_out):
    setting = laid_out("8b", "v5e-64", lora=FULL)
    held, share = count_memory(setting), 4 * parameters(setting.model) / 64
    assert held.parameters == pytest.approx(share, rel=1e-3)  # norms are shared out too
    assert held.optimizer == pytest.approx(2 * share, rel=1e-3)
    assert held.gradients == held.parameters


def test_adapters_leave_the_base_in_the_compute_dtype(laid_out):
    setting = laid_out("8b", "v5e-64")
    held = count_memory(setting)
    base = 2 * parameters(setting.model) / 64
    assert held.parameters == pytest.approx(base + held.gradients, rel=1e-3)
    assert held.optimizer == pytest.approx(2 * held.gradients, rel=1e-3)
    # An adapter's second factor has no axis that fsdp shards, so each device holds it whole.
    adapters = 4 * parameters(setting.model, setting.config.adapters)
    assert adapters / 64 < held.gradients < adapters


def test_microbatches_hold_less_of_the_activations_and_two_gradients(laid_out):
    whole = count_memory(laid_out("8b", "v5e-4", lora=FULL))
    parts = count_memory(laid_out("8b", "v5e-4", lora=FULL, microbatches=4))
    assert parts.activations == whole.activations / 4
    assert parts.gradients == 2 * whole.gradients


def test_remat_keeps_less_and_less(laid_out):
    kept = [
        count_memory(laid_out("8b", "v5e-64", remat=remat)).activations
        for remat in ("none", "projections", "full")
    ]
    assert kept == sorted(kept, reverse=True)
    # The inputs of 32 layers and of the final norm, and the loss's gradient in the head's inputs.
    row = 4096 * 4096
    assert kept[-1] == pytest.approx(2 * 34 * row, rel=0.01)


def test_a_tensor_axis_shares_out_what_a_layer_computes(laid_out):
    alone = count_memory(laid_out("8b", "v5e-4", remat="none"))
    mesh = {"fsdp": 1, "tensor": 4}
    shared = count_memory(laid_out("8b", "v5e-4", remat="none", mesh=mesh, batch_size=16))
    # As many rows a device; hidden states are whole on each, heads and the rest a quarter.
    assert 0.25 * alone.activations < shared.activations < 0.7 * alone.activations


def test_offloaded_state_takes_no_device_memory(laid_out):
    here = count_memory(laid_out("8b", "h100x8", lora=FULL))
    away = count_memory(laid_out("8b", "h100x8", lora=FULL, offload=True))
    assert away.optimizer < 1e-3 * here.optimizer
