"""FLOPs of matmuls, counted from shapes and by hand."""

import pytest

from vcjax.model.config import LlamaConfig
from vcjax.model.flops import forward_matmuls, parameters, step_flops
from vcjax.model.lora import LoraConfig
from vcjax.model.rope import RopeConfig


@pytest.fixture(scope="module")
def config() -> LlamaConfig:
    """Every size another one, so that none is taken for another."""
    return LlamaConfig(
        architecture="LlamaForCausalLM",
        vocab_size=50,
        hidden_size=12,
        intermediate_size=20,
        num_layers=3,
        num_heads=4,
        num_kv_heads=2,
        head_dim=6,
        max_position=64,
        rms_norm_eps=1e-5,
        rope=RopeConfig(original_max_position=64),
    )


def test_products_of_a_forward_pass_have_their_real_shapes(config):
    shapes = {
        one.name: (one.rows, one.inner, one.columns, one.count)
        for one in forward_matmuls(config, batch=2, length=8)
    }
    assert shapes == {
        "q": (16, 12, 24, 3),
        "k": (16, 12, 12, 3),
        "v": (16, 12, 12, 3),
        "o": (16, 24, 12, 3),
        "gate": (16, 12, 20, 3),
        "up": (16, 12, 20, 3),
        "down": (16, 20, 12, 3),
        "scores": (16, 6, 8, 12),  # 2 query heads to a key head
        "mixed": (16, 8, 6, 12),
        "head": (16, 12, 50, 1),
    }


def test_operations_equal_a_count_by_hand(config):
    weights = 3 * (12 * 24 * 2 + 12 * 12 * 2 + 12 * 20 * 3) + 12 * 50
    pairs = 2 * (8 * 9 // 2)  # of a token and one that it sees: 2 rows of 8 tokens
    attention = 3 * 4 * pairs * (6 + 6)  # 3 layers of 4 heads, scores and values
    forward = 2 * (16 * weights + attention)
    assert sum(each.flops for each in forward_matmuls(config, 2, 8)) == pytest.approx(forward)
    assert step_flops(config, 2, 8) == pytest.approx(3 * forward)


def test_a_frozen_weight_has_no_gradient_and_its_adapter_has(config):
    lora = LoraConfig(rank=2, alpha=4.0, targets="q|down")
    weights = 3 * (12 * 24 * 2 + 12 * 12 * 2 + 12 * 20 * 3) + 12 * 50
    attention = 3 * 4 * 2 * 36 * 12
    adapters = 3 * 2 * (12 + 24 + 20 + 12)
    assert parameters(config, lora) == adapters
    by_hand = 2 * (16 * (2 * weights + 3 * adapters) + 3 * attention)
    assert step_flops(config, 2, 8, lora) == pytest.approx(by_hand)


def test_parameters_are_those_of_the_model(config):
    layer = 12 * 24 * 2 + 12 * 12 * 2 + 12 * 20 * 3 + 2 * 12
    assert parameters(config) == 3 * layer + 12 + 2 * 12 * 50
