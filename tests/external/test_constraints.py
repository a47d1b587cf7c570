"""Constraints on the tokenizers of published models: byte level, SentencePiece, GGUF."""

import re

import pytest

from tests.external.outside import DATA, MODELS
from tests.generate.writer import Writer, assert_holds
from vcjax.text.tokenizer import load_tokenizer
from vcjax.weights.load import load_model

SCHEMA = {
    "type": "object",
    "properties": {
        "理由": {"type": "string", "maxLength": 16},
        "verdict": {"enum": ["accept", "拒绝"]},
        "scores": {"type": "array", "items": {"enum": [0, 1, 2]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["理由", "verdict", "scores"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=["stories260k", "minimind", "gguf"])
def writer(request) -> Writer:
    if request.param == "gguf":
        folder = DATA / "llama2_tiny_random_gguf"
        tokenizer = load_model(str(folder / "llama-2-tiny-random.gguf")).require_tokenizer()
    elif request.param == "minimind":
        tokenizer = load_tokenizer(DATA / "minimind_tokenizer")
    else:
        tokenizer = load_tokenizer(MODELS / "stories260k")
    return Writer(tokenizer, (tokenizer.eos_id,))


def test_random_tokens_are_what_they_are_held_to(writer):
    constraints = writer.constraints
    for seed in range(40):
        assert_holds(writer.write(constraints.json(SCHEMA), seed), SCHEMA)
        text = writer.write(constraints.regex("(Yes|是的)[,，] [a-z一-龥]{2,8}"), seed)
        assert re.fullmatch("(Yes|是的)[,，] [a-z一-龥]{2,8}", text)
    choices = ["A", "B", "不知道", "I don't know."]
    assert {writer.write(constraints.choices(choices), seed) for seed in range(99)} == set(choices)
