"""Tokenizers rebuilt from metadata alone; real vocabularies are tested in tests/external."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX as QWEN2

from vcjax.core.errors import UserError
from vcjax.weights.gguf.metadata import Metadata
from vcjax.weights.gguf.tokenizer import SPLITS, build_tokenizer

ALPHABET = list(bytes_to_unicode().values())
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "2 0", "20 2", "202 4"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"


def byte_level(pre="gpt-2", **changes):
    tokens = [*ALPHABET, *(merge.replace(" ", "") for merge in MERGES)]
    types = [1] * len(tokens)
    tokens += ["<|im_start|>", "<|im_end|>", "<tool>", "[PAD0]"]
    types += [3, 3, 4, 5]
    values = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": types,
        "merges": MERGES,
        "bos_token_id": tokens.index("<|im_start|>"),
        "eos_token_id": tokens.index("<|im_end|>"),
    } | changes
    return metadata(values) | {"tokenizer.chat_template": TEMPLATE}


def sentencepiece(**changes):
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [2, 3, 3, *[6] * 256]
    pieces = ["▁a", "ab", "▁ab", "s>", "<", "▁", "a", "b", "s", ">"]
    values = {
        "model": "llama",
        "tokens": tokens + pieces,
        "token_type": types + [1] * len(pieces),
        "scores": [0.0] * len(tokens) + [-float(n) for n in range(len(pieces))],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    } | changes
    return metadata(values)


def metadata(values):
    return {f"tokenizer.ggml.{k}": v for k, v in values.items() if v is not None}


def build(values):
    return build_tokenizer(Metadata(Path("m.gguf"), values))


def pieces(pre, text):
    tokenizer = build(byte_level(pre)).backend_tokenizer
    return [text[a:b] for _, (a, b) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("gpt-2", ["It", "'s", " 2024", ",", " naïve", "  ", " 12345", "!", "\n"]),
        (
            "smollm",
            ["It", "'s", " ", "2", "0", "2", "4", ",", " naïve", "   ", *"12345", "!", "\n"],
        ),
        ("qwen2", ["It", "'s", " ", *"2024", ",", " naïve", "  ", " ", *"12345", "!\n"]),
        ("llama-bpe", ["It", "'s", " ", "202", "4", ",", " naïve", "  ", " ", "123", "45", "!\n"]),
    ],
)
def test_text_is_cut_as_the_vocabulary_was_learnt(pre, expected):
    assert pieces(pre, "It's 2024, naïve   12345!\n") == expected


def test_tekken_cuts_where_capitals_begin():
    assert pieces("tekken", "aCamelCase WORD 中文") == ["a", "Camel", "Case", " WORD", " 中文"]


def test_qwen2_pattern_is_that_of_transformers():
    assert SPLITS["qwen2"].pattern == QWEN2


@pytest.mark.parametrize("pre", SPLITS)
def test_any_text_comes_back(pre):
    tokenizer = build(byte_level(pre))
    for text in ("hello world 2024", "价值观：你好！\n\n", "  tabs\t🤗 é", "<tool>x"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_merges_apply_within_pieces_only():
    assert build(byte_level("gpt-2")).tokenize("hello w2024") == ["hello", "Ġw", "2024"]
    assert build(byte_level("smollm")).tokenize("hello 2024") == ["hello", "Ġ", *"2024"]


def test_control_and_user_defined_tokens_are_one_id_and_unused_ones_no_token():
    tokenizer = build(byte_level())
    end, tool = len(ALPHABET) + len(MERGES) + 1, len(ALPHABET) + len(MERGES) + 2
    assert tokenizer.encode("<|im_end|><tool>") == [end, tool]
    assert tokenizer.decode([end, tool], skip_special_tokens=True) == "<tool>"
    assert tokenizer.eos_token_id == end
    assert len(tokenizer) == tool + 1
    assert tokenizer.decode([tool + 1]) == ""


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        (byte_level("smollm"), False),
        (byte_level("smollm", add_bos_token=True), True),
        (byte_level("llama-bpe"), True),
        (byte_level("llama-bpe", add_bos_token=False), False),
        (sentencepiece(), True),
        (sentencepiece(add_bos_token=False), False),
    ],
)
def test_bos_is_added_where_the_file_or_its_kind_says(values, begins):
    tokenizer = build(values)
    ids = tokenizer.encode("a")
    assert (ids[0] == tokenizer.bos_token_id) == begins
    assert ids[begins:] == tokenizer.encode("a", add_special_tokens=False)


def test_chat_template_renders():
    tokenizer = build(byte_level())
    conversation = [{"role": "user", "content": "hello"}]
    text = tokenizer.apply_chat_template(conversation, tokenize=False)
    assert text == "<|im_start|>user: hello<|im_end|>"


@pytest.mark.parametrize("values", [byte_level("qwen2"), sentencepiece()])
def test_a_saved_tokenizer_is_the_same(tmp_path, values):
    tokenizer = build(values)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in (" hello 2024", "ab</s> ab<|im_end|>", "中"):
        assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.chat_template == tokenizer.chat_template


def test_sentencepiece_prefixes_a_space_and_falls_back_to_bytes():
    tokenizer = build(sentencepiece())
    assert tokenizer.tokenize("ab ab") == ["▁ab", "▁ab"]
    assert tokenizer.tokenize(" ab") == ["▁", "▁ab"]
    assert tokenizer.tokenize("é") == ["▁", "<0xC3>", "<0xA9>"]
    for text in ("ab", " ab", "é中🤗"):
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_sentencepiece_without_the_space_prefix():
    tokenizer = build(sentencepiece(add_space_prefix=False))
    assert tokenizer.tokenize("ab ab") == ["ab", "▁ab"]
    assert tokenizer.decode(tokenizer.encode(" ab"), skip_special_tokens=True) == " ab"


def test_pieces_never_merge_into_a_control_token():
    # Were '<' + 's>' a merge, it would come first: control tokens have the highest score.
    backend = build(sentencepiece()).backend_tokenizer
    backend.encode_special_tokens = True  # read '<s>' in the text as text
    assert backend.encode("<s>", add_special_tokens=False).tokens == ["▁", "<", "s>"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (byte_level("viking"), r"'viking' .*supported: gpt-2, default, smollm"),
        (byte_level("qwen3"), "did you mean 'qwen2'"),
        (byte_level(pre=None), r"'tokenizer\.ggml\.pre' is missing"),
        (byte_level(model="bert"), "'bert' is not supported .*gpt2, llama"),
        (byte_level(merges=None), r"'tokenizer\.ggml\.merges' is missing"),
        (byte_level(merges=["h x"]), "'h x' names a token that isn't"),
        (byte_level(token_type=[1]), "but 1 token types"),
        (byte_level(eos_token_id=10_000), "eos_token_id is 10000"),
        (sentencepiece(scores=None), r"'tokenizer\.ggml\.scores' is missing"),
        (sentencepiece(scores=[0.0]), "but 1 scores"),
        ({}, r"'tokenizer\.ggml\.model' is missing"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(values, message):
    with pytest.raises(UserError, match=message) as caught:
        build(values)
    assert str(caught.value).startswith("m.gguf: ")
    assert "\n" not in str(caught.value)
