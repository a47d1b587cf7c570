"""Real vocabularies: Llama 2's in a GGUF file, and a byte-level one written to GGUF here."""

import json
import random

import gguf
import numpy as np
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from transformers import AutoTokenizer

from tests.external.outside import DATA
from vcjax.weights.gguf.source import GGUFSource

LLAMA2 = DATA / "llama2_tiny_random_gguf" / "llama-2-tiny-random.gguf"
MINIMIND = DATA / "minimind_tokenizer"

TEXTS = [
    "Hello world",
    " I am",
    "Hello this is a test",
    "  two spaces,\ttab\n\nlines  ",
    "In 2024 it cost 3,141.59 €.",
    "人人生而自由，在尊严和权利上一律平等。",
    "def f(x):\n    return x**2  # naïve 🤗",
    "<s> isn't always BOS",
]


@pytest.fixture(scope="module")
def llama2():
    return GGUFSource(LLAMA2)


@pytest.fixture(scope="module")
def tokenizer(llama2):
    return llama2.tokenizer()


def test_config_and_tensors(llama2):
    config = llama2.config
    assert (config["hidden_size"], config["num_hidden_layers"]) == (8, 1)
    assert (config["vocab_size"], config["rms_norm_eps"]) == (32_000, 1e-5)
    assert (config["torch_dtype"], config["tie_word_embeddings"]) == ("float16", False)
    assert len(llama2.names()) == 12
    for name in llama2.names():
        array = llama2.tensor(name)
        assert array.shape == llama2.shape(name)
        assert array.dtype == (np.float32 if "norm" in name else np.float16)


@pytest.mark.parametrize(
    ("text", "ids"),
    [  # from the documentation of transformers' LlamaTokenizer and sentencepiece itself
        ("Hello world", [15043, 3186]),
        ("Hello this is a test", [15043, 445, 338, 263, 1243]),
        (" I am", [29871, 306, 626]),
    ],
)
def test_known_ids_of_llama2(tokenizer, text, ids):
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    assert tokenizer.encode(text) == [1, *ids]


def test_ids_are_those_of_sentencepiece(llama2, tokenizer):
    fields = gguf.GGUFReader(LLAMA2).fields
    proto = sentencepiece_model_pb2.ModelProto()
    for text, score, kind in zip(
        fields["tokenizer.ggml.tokens"].contents(),
        fields["tokenizer.ggml.scores"].contents(),
        fields["tokenizer.ggml.token_type"].contents(),
        strict=True,
    ):
        proto.pieces.add(piece=text, score=score, type=kind)
    proto.trainer_spec.model_type = proto.trainer_spec.BPE
    proto.trainer_spec.byte_fallback = True
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.remove_extra_whitespaces = False
    reference = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    # Text that reads like a control token is one in ours: that is what chat templates need.
    texts = [text for text in TEXTS if "<s>" not in text]
    draw = random.Random(5)
    letters = "abcdehinorst   \n.,'12éß中国人的🤗"
    texts += ["".join(draw.choices(letters, k=40)) for _ in range(200)]
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == reference.encode(text), text
        assert tokenizer.decode(ids) == text


def test_byte_level_vocabulary_gives_the_ids_of_its_tokenizer_json(tmp_path):
    reference = AutoTokenizer.from_pretrained(MINIMIND)
    raw = json.loads((MINIMIND / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token: n for token, n in raw["model"]["vocab"].items()}
    added = {token["content"]: token for token in raw["added_tokens"]}
    ids |= {content: token["id"] for content, token in added.items()}
    tokens = sorted(ids, key=ids.get)
    assert [ids[token] for token in tokens] == list(range(len(tokens)))
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [1 if t not in added else 3 if added[t]["special"] else 4 for t in tokens]
    writer.add_token_types(kinds)
    merges = raw["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(reference.bos_token_id)
    writer.add_eos_token_id(reference.eos_token_id)
    writer.add_pad_token_id(reference.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(reference.chat_template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    rebuilt = GGUFSource(tmp_path / "m.gguf").tokenizer()
    chat = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hi"}]
    rendered = rebuilt.apply_chat_template(chat, tokenize=False)
    assert rendered == reference.apply_chat_template(chat, tokenize=False)
    for text in [*TEXTS, rendered]:
        assert rebuilt.encode(text) == reference.encode(text), text
        assert rebuilt.decode(rebuilt.encode(text)) == text
