"""GGUF files written here as llama.cpp's converter writes them, read back as HF tensors."""

import math

import gguf
import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from vcjax.core.errors import UserError
from vcjax.model.config import LlamaConfig
from vcjax.weights.gguf.source import GGUFSource

HEADS, KV_HEADS, LAYERS, VOCABULARY = 4, 2, 2, 96
MATRICES = {  # of a layer: HF module, output size, input size
    "attn_q": ("self_attn.q_proj", "hidden", "hidden"),
    "attn_k": ("self_attn.k_proj", "kv", "hidden"),
    "attn_v": ("self_attn.v_proj", "kv", "hidden"),
    "attn_output": ("self_attn.o_proj", "hidden", "hidden"),
    "ffn_gate": ("mlp.gate_proj", "intermediate", "hidden"),
    "ffn_up": ("mlp.up_proj", "intermediate", "hidden"),
    "ffn_down": ("mlp.down_proj", "hidden", "intermediate"),
}


def tiny(hidden=64, biases=(), qk_norm=False, tied=False):
    """Random tensors, as {GGUF name: (HF name, float32 array)}."""
    size = {"hidden": hidden, "kv": hidden // HEADS * KV_HEADS, "intermediate": 2 * hidden}
    rng = np.random.default_rng(7)

    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    tensors = {
        "token_embd.weight": ("model.embed_tokens.weight", draw(VOCABULARY, hidden)),
        "output_norm.weight": ("model.norm.weight", draw(hidden)),
    }
    if not tied:
        tensors["output.weight"] = ("lm_head.weight", draw(VOCABULARY, hidden))
    for n in range(LAYERS):
        ours, theirs = f"model.layers.{n}", f"blk.{n}"
        for name, (module, rows, columns) in MATRICES.items():
            weight = draw(size[rows], size[columns])
            tensors[f"{theirs}.{name}.weight"] = (f"{ours}.{module}.weight", weight)
            if name in biases:
                tensors[f"{theirs}.{name}.bias"] = (f"{ours}.{module}.bias", draw(size[rows]))
        for name, module in (("attn_norm", "input"), ("ffn_norm", "post_attention")):
            norm = (f"{ours}.{module}_layernorm.weight", draw(hidden))
            tensors[f"{theirs}.{name}.weight"] = norm
        if qk_norm:
            for letter in "qk":
                norm = (f"{ours}.self_attn.{letter}_norm.weight", draw(hidden // HEADS))
                tensors[f"{theirs}.attn_{letter}_norm.weight"] = norm
    return tensors


def permuted(array, heads):
    """What llama.cpp's converter does to q and k of architecture llama."""
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def write(path, tensors, architecture="llama", kind=Type.F32, change=None, omit=()):
    """Writes `tensors`, the matrices quantised to `kind`; `change` edits the writer's metadata."""
    hidden = tensors["token_embd.weight"][1].shape[1]
    writer = gguf.GGUFWriter(path, architecture)
    sizes = {
        "embedding_length": hidden,
        "block_count": LAYERS,
        "feed_forward_length": 2 * hidden,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "context_length": 512,
    }
    for key, value in sizes.items():
        if key not in omit:
            writer.add_uint32(f"{architecture}.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e6 if architecture == "qwen3" else 500_000.0)
    if change:
        change(writer)
    for name, (_, array) in tensors.items():
        if architecture == "llama" and ".attn_q." in name:
            array = permuted(array, HEADS)
        if architecture == "llama" and ".attn_k." in name:
            array = permuted(array, KV_HEADS)
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


EXACT = {Type.F32: np.float32, Type.F16: np.float16, Type.BF16: ml_dtypes.bfloat16}


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_float_tensors_come_back_exactly_in_their_own_dtype(tmp_path, architecture, kind):
    tensors = tiny(biases=("attn_q", "attn_k", "attn_v"))
    source = GGUFSource(write(tmp_path / "m.gguf", tensors, architecture, kind))
    assert sorted(source.names()) == sorted(name for name, _ in tensors.values())
    for name, array in tensors.values():
        expected = array if array.ndim == 1 else array.astype(EXACT[kind])
        actual = source.tensor(name)
        assert actual.dtype == expected.dtype
        assert actual.shape == source.shape(name) == array.shape
        np.testing.assert_array_equal(actual, expected, err_msg=name)
    assert source.config["torch_dtype"] == np.dtype(EXACT[kind]).name


@pytest.mark.parametrize("kind", [Type.Q8_0, Type.Q4_0, Type.Q4_1])
def test_quantised_tensors_come_back_as_their_blocks_say(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(
        "vcjax.weights.gguf.source._ROWS", 40
    )  # several steps, the last one shorter
    tensors = tiny()
    source = GGUFSource(write(tmp_path / "m.gguf", tensors, kind=kind))
    assert source.config["torch_dtype"] == "float32"
    for name, array in tensors.values():
        actual = source.tensor(name)
        expected = array
        if array.ndim > 1:  # quantised row by row, so the order of rows doesn't matter
            expected = gguf.quants.dequantize(gguf.quants.quantize(array, kind), kind)
        assert actual.dtype == np.float32
        np.testing.assert_array_equal(actual, expected, err_msg=name)
        assert np.abs(actual - array).max() < 0.5


@pytest.mark.parametrize("kind", [Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K])
def test_k_quants_come_back_as_gguf_s_own_dequantisation(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(
        "vcjax.weights.gguf.source._ROWS", 40
    )  # several steps, the last one shorter
    # `gguf` can't quantise to these: random bytes are blocks, if their float16 scales are finite.
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (VOCABULARY, 2 * size), np.uint8)
    scales = {Type.Q2_K: (size - 4, size), Type.Q3_K: (size - 2, size), Type.Q6_K: (size - 2, size)}
    start, end = scales.get(kind, (0, 4))
    for one in (0, size):
        drawn = rng.uniform(0.001, 0.1, (VOCABULARY, (end - start) // 2)).astype("<f2")
        blocks[:, one + start : one + end] = drawn.view(np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = GGUFSource(tmp_path / "m.gguf")
    array = source.tensor("model.embed_tokens.weight")
    assert array.shape == source.shape("model.embed_tokens.weight") == (VOCABULARY, 2 * block)
    assert array.dtype == np.float32
    expected = gguf.quants.dequantize(blocks, kind)
    assert len(np.unique(expected, axis=0)) == VOCABULARY  # no row could stand for another
    np.testing.assert_array_equal(array, expected)


def test_config_is_that_of_the_hugging_face_folder(tmp_path):
    source = GGUFSource(write(tmp_path / "m.gguf", tiny(tied=True)))
    assert source.config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 512,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,  # exactly, though the file holds its float32 image
        "rope_theta": 500_000.0,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "attention_bias": False,
        "mlp_bias": False,
    }
    assert "lm_head.weight" not in source.names()


def test_qwen3_has_explicit_head_dim_and_norms_of_queries_and_keys(tmp_path):
    path = write(
        tmp_path / "m.gguf", tiny(qk_norm=True), "qwen3", change=lambda w: w.add_key_length(16)
    )
    source = GGUFSource(path)
    assert source.config["head_dim"] == 16
    assert source.config["rope_theta"] == 1e6
    assert source.shape("model.layers.1.self_attn.q_norm.weight") == (16,)
    assert LlamaConfig.from_hf(source.config).qk_norm


def test_biases_are_declared(tmp_path):
    tensors = tiny(biases=("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up"))
    config = GGUFSource(write(tmp_path / "m.gguf", tensors)).config
    assert config["attention_bias"]
    assert config["mlp_bias"]


def test_llama3_frequency_factors_become_its_rope_scaling(tmp_path):
    # head_dim 16: wavelengths of 6.3, 32, 167, 861, 4443, 22912, ... tokens; only the fifth blends.
    smooth = (8192 / (2 * math.pi * 500_000 ** (4 / 8)) - 1) / 3
    divisors = np.array([1, 1, 1, 1, 1 / ((1 - smooth) / 8 + smooth), 8, 8, 8], np.float32)
    tensors = tiny() | {"rope_freqs.weight": ("", divisors)}
    source = GGUFSource(write(tmp_path / "m.gguf", tensors))
    rope = LlamaConfig.from_hf(source.config).rope
    assert (rope.rope_type, rope.factor, rope.original_max_position) == ("llama3", 8.0, 8192)
    assert not any("rope" in name for name in source.names())


def test_every_end_of_turn_token_stops_generation(tmp_path):
    def change(writer):
        writer.add_token_list(["<|end|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<x>"])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(0)
        writer.add_pad_token_id(0)
        writer.add_eot_token_id(4)
        writer.add_chat_template("<|im_start|>{{ messages[0].content }}<|im_end|>")

    source = GGUFSource(write(tmp_path / "m.gguf", tiny(), change=change))
    expected = {"bos_token_id": 1, "eos_token_id": [0, 4, 2], "pad_token_id": 0}
    assert source.generation_config == expected
    assert source.config["eos_token_id"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.add_rope_dimension_count(8), "partial rotation"),
        (lambda w: w.add_string("llama.attention.key_length", "16"), "of type str, not int"),
    ],
)
def test_metadata_that_the_model_cannot_follow_is_refused(tmp_path, change, message):
    source = GGUFSource(write(tmp_path / "m.gguf", tiny(), change=change))
    with pytest.raises(UserError, match=message) as caught:
        _ = source.config
    assert str(caught.value).startswith(str(tmp_path / "m.gguf"))
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(tmp_path):
    source = GGUFSource(write(tmp_path / "m.gguf", tiny(), omit=("block_count",)))
    with pytest.raises(UserError, match=r"m\.gguf: metadata 'llama\.block_count' is missing"):
        _ = source.config


def test_sizes_that_differ_between_layers_are_refused(tmp_path):
    path = write(
        tmp_path / "m.gguf",
        tiny(),
        omit=("feed_forward_length",),
        change=lambda w: w.add_array("llama.feed_forward_length", [128, 64]),
    )
    with pytest.raises(UserError, match="differs between layers"):
        _ = GGUFSource(path).config


def test_an_unsupported_architecture_is_named_with_the_supported_ones(tmp_path):
    path = write(tmp_path / "m.gguf", tiny(), "gemma2")
    with pytest.raises(UserError, match=r"'gemma2' is not supported .*llama, qwen2, qwen3"):
        GGUFSource(path)


def test_an_unknown_tensor_is_refused(tmp_path):
    tensors = tiny() | {"blk.0.ffn_gate_inp.weight": ("", np.ones((4, 64), np.float32))}
    source = GGUFSource(write(tmp_path / "m.gguf", tensors))
    with pytest.raises(UserError, match=r"m\.gguf: tensor 'blk\.0\.ffn_gate_inp\.weight'"):
        source.names()
    with pytest.raises(UserError, match="no counterpart"):
        source.tensor("model.norm.weight")
