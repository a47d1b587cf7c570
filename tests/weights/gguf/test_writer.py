"""Models as GGUF files: read back by `gguf`'s reader and by ours."""

import logging
import re
from dataclasses import replace

import gguf
import jax
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from tokenizers import pre_tokenizers

from tests.parity.random_models import CASES, LLAMA3_ROPE, tensors
from tests.scripts import ran
from tests.weights.gguf.test_tokenizer import ALPHABET, build, byte_level, sentencepiece
from vcjax.core.errors import UserError
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.gguf.source import GGUFSource
from vcjax.weights.gguf.tokenizer import TokenType
from vcjax.weights.gguf.vocabulary import PROBE, vocabulary_metadata, without_generation_marks
from vcjax.weights.gguf.writer import write_gguf
from vcjax.weights.load import load_model, open_model

WHOLE = [case for case in CASES if "window" not in case and not case.startswith("llama3")]
SMALL = byte_level(
    tokens=[*ALPHABET[:99], "!!", "<|im_end|>"],
    token_type=[1] * 100 + [3],
    merges=["! !"],
    bos_token_id=None,
    eos_token_id=100,
)
"""A vocabulary that fits the small models."""


@pytest.fixture
def opened(publish, arrays, tmp_path):
    """A function that loads a small model with a tokenizer."""

    def load(case, given=None, **changes):
        folder = publish(tmp_path / f"in-{case}", case, given or arrays(case), **changes)
        return replace(load_model(str(folder)), tokenizer=Tokenizer(build(SMALL)))

    return load


@pytest.mark.parametrize("case", WHOLE)
def test_every_architecture_and_back(case, tmp_path, opened):
    original = opened(case)
    write_gguf(tmp_path, original, "float32")
    again = load_model(str(tmp_path / "model.gguf"))
    jax.tree.map(np.testing.assert_array_equal, again.params, original.params)
    theirs, ours = again.config.to_hf("float32"), original.config.to_hf("float32")
    if case == "mistral":  # labelled llama, as everywhere
        ours |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    names = set(ours) - {"bos_token_id", "eos_token_id", "rope_scaling", "rope_parameters"}
    assert {n: theirs.get(n) for n in names} == {n: ours[n] for n in names}
    assert again.config.rope.rope_type == original.config.rope.rope_type


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "q8_0"])
def test_the_tensors_of_each_type_are_what_gguf_reads(kind, tmp_path, arrays, opened):
    original = arrays("qwen2")
    write_gguf(tmp_path, opened("qwen2"), kind)
    read = {each.name: each for each in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    matrix, norm = read["blk.1.attn_q.weight"], read["blk.1.attn_norm.weight"]
    expected = original["model.layers.1.self_attn.q_proj.weight"]
    wanted = {"q8_0": Type.Q8_0, "float16": Type.F16, "bfloat16": Type.BF16, "float32": Type.F32}
    assert matrix.tensor_type == wanted[kind]
    assert matrix.data.tobytes() == gguf.quants.quantize(expected, wanted[kind]).tobytes()
    assert norm.tensor_type == Type.F32
    assert (norm.data == original["model.layers.1.input_layernorm.weight"]).all()
    source = GGUFSource(tmp_path / "model.gguf")
    ours = source.tensor("model.layers.1.self_attn.q_proj.weight").astype(np.float32)
    np.testing.assert_array_equal(ours, gguf.quants.dequantize(matrix.data, wanted[kind]))


def test_rows_that_are_no_whole_blocks_are_stored_as_float16(tmp_path, opened):
    narrow = tensors(CASES["mistral"] | {"intermediate_size": 80})
    write_gguf(tmp_path, opened("mistral", narrow, intermediate_size=80), "q8_0")
    read = {each.name: each for each in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert read["blk.0.ffn_up.weight"].tensor_type == Type.Q8_0
    assert read["blk.0.ffn_down.weight"].tensor_type == Type.F16


def test_llama_3_s_scaling_is_a_tensor_of_factors(tmp_path, opened):
    scaling = LLAMA3_ROPE | {"original_max_position_embeddings": 8192}
    model = opened("llama31", rope_scaling=scaling)
    write_gguf(tmp_path, model, "float32")
    assert load_model(str(tmp_path / "model.gguf")).config.rope == model.config.rope
    (factors,) = [
        each.data
        for each in gguf.GGUFReader(tmp_path / "model.gguf").tensors
        if each.name == "rope_freqs.weight"
    ]
    assert factors[0] == 1
    assert factors[-1] == 8


def test_what_a_file_cannot_have_is_refused(tmp_path, arrays, opened):
    with pytest.raises(UserError, match="sliding windows"):
        write_gguf(tmp_path, opened("mistral_window"), "float32")
    with pytest.raises(UserError, match="has no tokenizer"):
        write_gguf(tmp_path, replace(opened("mistral"), tokenizer=None), "float32")
    wide = {name: array * np.float32(1e6) for name, array in arrays("qwen2").items()}
    with pytest.raises(UserError, match="beyond the range of float16"):
        write_gguf(tmp_path, opened("qwen2", wide), "float16")


def test_a_chat_model_speaks_as_before(tiny, tmp_path, caplog):
    ends = tiny.eos_ids[:2]
    model = replace(tiny, generation_config={"eos_token_id": list(ends)})
    write_gguf(tmp_path, model, "float32")
    again = open_model(str(tmp_path / "model.gguf"))
    tokenizer, original = again.require_tokenizer(), tiny.require_tokenizer()
    assert again.eos_ids == ends
    for text in (PROBE, "a😀公", "<|im_end|>"):
        assert tokenizer.encode(text) == original.encode(text)
        assert tokenizer.encode(text, special=True) == original.encode(text, special=True)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    with caplog.at_level(logging.WARNING):
        write_gguf(tmp_path, tiny, "float32")
    assert f"of {len(tiny.eos_ids)} ids that end an answer a GGUF file has 3" in caplog.text


@pytest.mark.parametrize("values", [byte_level("llama-bpe"), byte_level("smollm"), sentencepiece()])
def test_a_vocabulary_and_back(values):
    original = Tokenizer(build(values))
    size = len(values["tokenizer.ggml.tokens"])
    written = vocabulary_metadata(original, size, [original.eos_id or 0])
    used = [kind != TokenType.UNUSED for kind in values["tokenizer.ggml.token_type"]]
    tokens = zip(
        values["tokenizer.ggml.tokens"], written["tokenizer.ggml.tokens"], used, strict=True
    )
    assert all(given == found for given, found, is_used in tokens if is_used)
    for key in ("model", "pre", "token_type", "merges", "eos_token_id", "bos_token_id"):
        name = f"tokenizer.ggml.{key}"
        if name in values:
            assert written[name] == values[name], key
    again = Tokenizer(build(written))
    for text in (PROBE, "ab a s> b", "hello 2024 world"):
        assert again.encode(text) == original.encode(text)


def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused():
    values = byte_level("gpt-2")
    built = build(values)

    built.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("e", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    with pytest.raises(UserError, match="no pre-tokenizer that llama"):
        vocabulary_metadata(Tokenizer(built), len(values["tokenizer.ggml.tokens"]), [])


def test_marks_of_what_is_generated_leave_the_same_white_space():
    template = "a\n{%- generation -%}\n b {% endgeneration %}c"
    assert without_generation_marks(template) == "a\n{#- generation -#}\n b {# endgeneration #}c"


def test_convert_writes_a_file_that_is_a_model(tiny_folder, tmp_path, script_cache):
    out = tmp_path / "served"
    flags = [f"--src={tiny_folder}", f"--dst={out}", "--dtype=q8_0"]
    code, _, error = ran("convert", [*flags, "--to=hf"], script_cache)
    assert code == 2
    assert "--dtype=q8_0: only --to=gguf" in error
    code, _, error = ran("convert", [*flags, "--to=gguf"], script_cache)
    assert code == 0, error
    assert {each.name for each in out.iterdir()} == {"model.gguf", "README.md", "lineage.json"}
    (named,) = re.findall(r"next: \S+ -m launch.chat --model=(\S+)", error)
    assert open_model(named).config.num_layers == 2
    code, printed, _ = ran("convert", [*flags, "--to=gguf"], script_cache)
    assert "already converted" in printed
