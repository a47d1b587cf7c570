import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.contenders import decode_matmul as limit
from benchmarks.matmuls import ATTENTION, decode_matmuls, prefill_matmuls
from vcjax.model.build import NAMED
from vcjax.model.flops import forward_matmuls


@pytest.mark.parametrize("batch", [1, 16])
def test_a_decode_step_has_the_products_of_a_token_a_row_and_its_context(batch):
    config = NAMED["smollm2-135m"]
    one = {matmul.name: matmul for matmul in forward_matmuls(config, batch, 1)}
    found = {matmul.name: matmul for matmul in decode_matmuls(config, batch, 128)}
    assert found.keys() == one.keys()
    for name in found.keys() - set(ATTENTION):
        assert found[name] == one[name]
    for name in ATTENTION:
        assert found[name].flops == 128 * one[name].flops
    layer = sum(
        one[name].inner * one[name].columns for name in one if name not in (*ATTENTION, "head")
    )
    weights = config.num_layers * layer + config.vocab_size * config.hidden_size
    attention = 2 * 128 * config.num_heads * config.head_dim * config.num_layers
    assert sum(one.flops for one in found.values()) == 2 * batch * (weights + attention)


def test_a_prefill_has_the_products_of_a_forward_pass_with_logits_for_last_tokens_alone():
    config = NAMED["smollm2-135m"]
    whole = {matmul.name: matmul for matmul in forward_matmuls(config, 16, 256)}
    found = {matmul.name: matmul for matmul in prefill_matmuls(config, 16, 256)}
    assert found.keys() == whole.keys()
    assert found["head"].flops == whole["head"].flops / 256
    for name in found.keys() - {"head"}:
        assert found[name].flops == pytest.approx(whole[name].flops, rel=1e-3)
    assert {name for name, one in found.items() if not one.by_weight} == set(ATTENTION)


def test_the_limit_multiplies_the_real_weights_in_any_form(tiny):
    config = tiny.config
    for matmul in decode_matmuls(config, 3, 7):
        operands = limit.operands_of(matmul, tiny, 3, jnp.float32)
        assert operands.keys() == limit.FORMS.keys()
        results = []
        for form, (first, seconds) in operands.items():
            assert first.shape[-2:] == (matmul.rows, matmul.inner)
            products = [limit.multiplied(form, first, second) for second in seconds]
            results.append([p.mT if form == "swapped" else p for p in products])
        assert sum(one.size for one in results[0]) == matmul.rows * matmul.columns * matmul.count
        for other in results[1:]:
            np.testing.assert_allclose(other, results[0], rtol=1e-4, atol=1e-5)
    kernels = np.asarray(tiny.params["layers"]["up"]["kernel"])
    (matmul,) = (one for one in decode_matmuls(config, 3, 7) if one.name == "up")
    first, seconds = limit.operands_of(matmul, tiny, 3, jnp.float32)["plain"]
    assert np.array_equal(np.stack(seconds), kernels)
