"""Reading and writing `config.json`."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.random_models import CASES, LLAMA3_ROPE
from vcjax.core.errors import UserError
from vcjax.model.config import MODEL_TYPES, LlamaConfig
from vcjax.model.rope import RopeConfig

LLAMA31 = CASES["llama31"]


def _new_layout(raw: dict) -> dict:
    """The same config as transformers 5 writes it."""
    raw = dict(raw)
    rope = dict(raw.pop("rope_scaling", None) or {"rope_type": "default"})
    rope["rope_type"] = rope.pop("type", rope.get("rope_type"))
    rope["rope_theta"] = raw.pop("rope_theta")
    return {**raw, "rope_parameters": rope}


@pytest.mark.parametrize("case", CASES)
def test_both_layouts_of_rope_give_one_config(case):
    new = _new_layout(CASES[case])
    assert "rope_theta" not in new
    assert LlamaConfig.from_hf(new) == LlamaConfig.from_hf(CASES[case])


def test_rope_is_read_whole():
    assert LlamaConfig.from_hf(LLAMA31).rope == RopeConfig("llama3", 500_000.0, 8.0, 1.0, 4.0, 64)
    linear = LlamaConfig.from_hf(CASES["llama_linear_rope"]).rope
    assert (linear.rope_type, linear.theta, linear.factor) == ("linear", 10_000.0, 4.0)


def test_architecture_sets_biases_and_norms():
    flags = {
        case: (c.qkv_bias, c.o_bias, c.mlp_bias, c.qk_norm, c.tie_embeddings)
        for case, c in ((case, LlamaConfig.from_hf(raw)) for case, raw in CASES.items())
    }
    assert flags["llama31"] == (False, False, False, False, False)
    assert flags["llama_biases"] == (True, True, True, False, False)
    assert flags["qwen2"] == (True, False, False, False, False)
    assert flags["qwen3"] == (False, False, False, True, False)
    assert flags["qwen2_window"] == (True, False, False, False, True)


def test_windows_per_layer():
    def windows(case: str, **changes: object) -> tuple[int, ...]:
        raw = {**CASES[case], **changes}
        return LlamaConfig.from_hf({k: v for k, v in raw.items() if v != "absent"}).windows

    assert windows("mistral") == ()
    assert windows("mistral_window") == (48, 48, 48)
    assert windows("mistral", sliding_window="absent") == (4096, 4096, 4096)
    assert windows("qwen2_window") == (0, 48, 48)
    assert windows("qwen2_window", max_window_layers="absent") == ()  # from layer 28 on
    assert windows("qwen2_window", use_sliding_window=False) == ()
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    assert windows("qwen2_window", layer_types=kinds) == (48, 0, 48)
    assert windows("llama31", sliding_window=48) == ()


def test_ids_of_special_tokens_may_be_one_or_many():
    config = LlamaConfig.from_hf({**LLAMA31, "eos_token_id": [2, 5], "bos_token_id": None})
    assert (config.bos_ids, config.eos_ids, config.pad_id) == ((), (2, 5), None)


@st.composite
def raw_configs(draw: st.DrawFn) -> dict:
    """Any `config.json` of the family, either layout."""
    architecture = draw(st.sampled_from(list(MODEL_TYPES)))
    kv_heads, groups = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    layers, head_dim = draw(st.integers(1, 6)), 2 * draw(st.integers(1, 64))
    sizes = st.integers(1, 10_000)
    theta = st.floats(1.0, 1e8, allow_nan=False)
    factors = st.floats(0.5, 64.0)
    rope = draw(
        st.one_of(
            st.none(),
            st.builds(lambda f: {"rope_type": "linear", "factor": f}, factors),
            st.builds(lambda f: {**LLAMA3_ROPE, "factor": f}, factors),
        )
    )
    ids = st.one_of(st.none(), st.integers(0, 99), st.lists(st.integers(0, 99), min_size=2))
    raw = {
        "architectures": [architecture],
        "model_type": MODEL_TYPES[architecture],
        "vocab_size": draw(sizes),
        "hidden_size": draw(sizes),
        "intermediate_size": draw(sizes),
        "num_hidden_layers": layers,
        "num_attention_heads": kv_heads * groups,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "max_position_embeddings": draw(sizes),
        "rms_norm_eps": draw(st.sampled_from([1e-5, 1e-6])),
        "rope_theta": draw(theta),
        "rope_scaling": rope,
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": draw(ids),
        "eos_token_id": draw(ids),
        "pad_token_id": draw(st.one_of(st.none(), st.integers(0, 99))),
        "sliding_window": draw(st.one_of(st.none(), sizes)),
    }
    if architecture in ("LlamaForCausalLM", "Qwen3ForCausalLM"):
        raw["attention_bias"] = draw(st.booleans())
    if architecture == "LlamaForCausalLM":
        raw["mlp_bias"] = draw(st.booleans())
    if architecture.startswith("Qwen"):
        raw["use_sliding_window"] = draw(st.booleans())
        raw["max_window_layers"] = draw(st.integers(0, layers + 1))
    return _new_layout(raw) if draw(st.booleans()) else raw


@given(raw=raw_configs(), dtype=st.sampled_from(["float32", "bfloat16"]))
def test_a_written_config_reads_as_the_same_config(raw, dtype):
    config = LlamaConfig.from_hf(raw)
    written = json.loads(json.dumps(config.to_hf(dtype)))
    assert LlamaConfig.from_hf(written) == config
    assert written["dtype"] == written["torch_dtype"] == dtype
    old = {k: v for k, v in written.items() if k != "rope_parameters"}
    new = {k: v for k, v in written.items() if k not in ("rope_theta", "rope_scaling")}
    assert LlamaConfig.from_hf(old) == LlamaConfig.from_hf(new) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture 'GPT2LMHeadModel' is not supported"),
        ({"architectures": ["LamaForCausalLM"]}, "did you mean 'LlamaForCausalLM'"),
        ({"architectures": None, "model_type": "gpt2"}, "nor a supported `model_type`.*'gpt2'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_type 'yarn' is not supp"),
        ({"rope_scaling": {"rope_type": "lama3"}}, "did you mean 'llama3'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "needs .*'low_freq_factor'"),
        ({"rope_scaling": {**LLAMA3_ROPE, "factor": None}}, "needs the field 'factor'"),
        ({"rope_scaling": {**LLAMA3_ROPE, "factor": "8"}}, "factor must be a positive number"),
        ({"rope_scaling": {"full_attention": {"rope_type": "default"}}}, "per layer type"),
        ({"rope_theta": -1.0}, "rope_theta must be a positive number, not -1.0"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps must be a positive number, not 'small'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"quantization_config": {"bits": 4}}, "quantization_config .* is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
        ({"head_dim": 15}, "head_dim 15 is odd"),
        ({"num_key_value_heads": 3}, "4 is not a multiple of num_key_value_heads 3"),
        ({"num_attention_heads": 6, "num_key_value_heads": 6}, "hidden_size 64 is not a multiple"),
        ({"hidden_size": None}, "the field 'hidden_size' is missing"),
        ({"vocab_size": "big"}, "vocab_size must be a positive integer, not 'big'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive integer, not 0"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_mistakes_are_one_line_that_names_the_field(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        LlamaConfig.from_hf({**LLAMA31, **changes})
    assert str(caught.value).startswith("config.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
            "one kind of layer",
        ),
        ({"layer_types": ["chunked_attention"] * 3}, "layer_types .* is not supported"),
        ({"layer_types": ["sliding_attention"]}, "layer_types .* is not supported"),
        ({"sliding_window": "wide"}, "sliding_window must be a positive integer"),
    ],
)
def test_windows_that_are_not_supported(changes, message):
    with pytest.raises(UserError, match=message):
        LlamaConfig.from_hf({**CASES["mistral_window"], **changes})
