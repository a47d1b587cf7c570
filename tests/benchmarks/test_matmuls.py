import pytest

from benchmarks.matmuls import step_matmuls
from vcjax.model.build import NAMED
from vcjax.model.config import LlamaConfig
from vcjax.model.flops import step_flops


@pytest.fixture(scope="module")
def small(tiny) -> LlamaConfig:
    return tiny.config


def test_each_product_has_two_more_for_the_gradients_of_its_factors(small):
    found = {one.name: one for one in step_matmuls(small, batch=2, length=16)}
    assert found["down"].shape == (32, 64, 32)
    assert found["down, first gradient"].shape == (32, 32, 64)
    assert found["down, second gradient"].shape == (64, 32, 32)
    assert {found[name].count for name in found if name.startswith("down")} == {2}
    weights = {one.name for one in found.values() if one.by_weight}
    assert {"down", "down, first gradient", "head"} <= weights
    assert not weights & {"down, second gradient", "scores", "mixed", "mixed, first gradient"}


def test_attention_has_the_causal_half_of_its_products(small):
    found = {one.name: one for one in step_matmuls(small, batch=2, length=16)}
    whole = 2 * 2 * 2  # layers x rows x key/value heads
    for name in ("scores", "scores, second gradient", "mixed"):
        assert found[name].count == round(whole * 17 / 32)


@pytest.mark.parametrize(("batch", "length"), [(4, 512), (1, 2048)])
def test_all_of_them_are_the_operations_of_a_step(batch, length):
    config = NAMED["smollm2-135m"]
    total = sum(one.flops for one in step_matmuls(config, batch, length))
    assert total == pytest.approx(step_flops(config, batch, length), rel=1e-3)
