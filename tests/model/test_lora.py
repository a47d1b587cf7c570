"""Low-rank adapters: which kernels have them, and the result of merging."""

import numpy as np
import pytest

from tests.parity.random_models import tokens
from vcjax.core.errors import UserError
from vcjax.model.build import initialise, logical_axes, shapes
from vcjax.model.config import LlamaConfig
from vcjax.model.lora import PROJECTIONS, LoraConfig, merge_lora

ROW = tokens(40)


def _adapted(base: dict, config: LlamaConfig, lora: LoraConfig, scale: float) -> dict:
    """The base's parameters with fresh A and random B; B is zero where `scale` is."""
    draw = np.random.default_rng(5).standard_normal

    def fill(fresh: dict, base: dict) -> dict:
        filled = {}
        for name, leaf in fresh.items():
            if isinstance(leaf, dict):
                filled[name] = fill(leaf, base[name])
            elif name == "lora_b":
                filled[name] = scale * draw(leaf.shape, np.float32)
            else:
                filled[name] = leaf if name == "lora_a" else base[name]
        return filled

    return fill(initialise(config, 3, lora=lora), base)


@pytest.mark.parametrize("targets", [".*", "q|v|down"])
def test_merged_equals_adapted(targets, random_model):
    model, lora = random_model("llama_biases"), LoraConfig(rank=4, alpha=8.0, targets=targets)
    adapted = type(model)(model.config, _adapted(model.params, model.config, lora, 0.2))
    merged = type(model)(model.config, merge_lora(adapted.params, lora))
    expected = adapted.logits(ROW, lora=lora)
    np.testing.assert_allclose(merged.logits(ROW), expected, rtol=0, atol=1e-4)
    assert np.abs(expected - model.logits(ROW)).max() > 0.1


def test_fresh_adapters_change_nothing(random_model):
    model, lora = random_model("llama_biases"), LoraConfig(rank=4)
    adapted = type(model)(model.config, _adapted(model.params, model.config, lora, 0.0))
    np.testing.assert_array_equal(adapted.logits(ROW, lora=lora), model.logits(ROW))


def test_targets_say_which_projections_are_adapted(random_model):
    config, lora = random_model("qwen3").config, LoraConfig(rank=2, targets="q|gate")
    layers = shapes(config, lora=lora)["layers"]
    assert {name for name in PROJECTIONS if "lora_a" in layers[name]} == {"q", "gate"}
    assert layers["q"]["lora_a"].shape == (3, 64, 2)
    assert layers["q"]["lora_b"].shape == (3, 2, 4 * 24)
    axes = logical_axes(config, lora=lora)["layers"]
    assert axes["q"]["lora_b"] == ("layers", "rank", "heads")
    assert axes["gate"]["lora_a"] == ("layers", "embed", "rank")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rank": 0}, "lora.rank must be at least 1, not 0"),
        ({"targets": "q("}, "lora.targets 'q\\(' is not a pattern"),
        ({"targets": "q_proj"}, "lora.targets 'q_proj' matches none of q, k, v"),
    ],
)
def test_mistakes_are_one_line(fields, message):
    with pytest.raises(UserError, match=message) as caught:
        LoraConfig(**fields)
    assert "\n" not in str(caught.value)
