"""Random tokens in place of a model's, a SentencePiece tokenizer, and a check of JSON."""

import json
import re

import jsonschema
import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

from vcjax.charter.floor import FLOOR_RULES
from vcjax.generate.constraints import Constraint, Constraints
from vcjax.text.tokenizer import Tokenizer


def sentencepiece_tokenizer() -> Tokenizer:
    """As Llama 2's: blanks are ▁, a character that isn't a token falls back to its bytes."""
    core = tokenizers.Tokenizer(models.BPE())
    core.normalizer = normalizers.Replace(" ", "▁")
    texts = [text for rule in FLOOR_RULES for text in rule.text.values()]
    core.train_from_iterator(texts * 4, trainers.BpeTrainer(vocab_size=600, show_progress=False))
    model = json.loads(core.to_str())["model"]
    control = ["<unk>", "<s>", "</s>"]
    names = [*control, *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    core = tokenizers.Tokenizer(
        models.BPE(
            {name: n for n, name in enumerate(dict.fromkeys(names))},
            [tuple(pair) for pair in model["merges"]],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    core.add_special_tokens(control)
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>"))


class Writer:
    """Drives constraints with random tokens instead of a model's."""

    def __init__(self, tokenizer: Tokenizer, eos_ids: tuple[int, ...]) -> None:
        self.tokenizer, self.eos_ids = tokenizer, eos_ids
        self.vocab = tokenizer.vocab_size + 5  # padded, as real models' are
        self.constraints = Constraints(tokenizer, self.vocab, eos_ids)

    def allowed(self, constraint: Constraint) -> set[int]:
        bits = np.unpackbits(constraint.mask().view(np.uint8), bitorder="little")
        return set(np.flatnonzero(bits).tolist())

    def write(self, constraint: Constraint, seed: int, most: int = 2000) -> str:
        """The text of random allowed tokens; it must come to an end by itself."""
        random, tokens = np.random.default_rng(seed), []
        while len(tokens) < most:
            token = int(random.choice(sorted(self.allowed(constraint))))
            if token in self.eos_ids:
                return self.tokenizer.decode(tokens)
            tokens.append(token)
            if constraint.accept(token):
                return self.tokenizer.decode(tokens)
        raise AssertionError(f"no end after {most} tokens")


def assert_holds(text: str, schema: dict) -> None:
    """Parses, validates, and has no blanks but those in strings."""
    jsonschema.validate(json.loads(text), schema, jsonschema.Draft202012Validator)
    assert not re.search(r"\s", re.sub(r'"(?:[^"\\]|\\.)*"', "", text))
    text.encode()  # no half of a surrogate pair
