"""Tiny bilingual byte-level tokenizers, trained in a second, with a family's control tokens."""

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from vcjax.text.tokenizer import Tokenizer

CORPUS = [
    "All human beings are born free and equal in dignity and rights. Hello, how are you? Fine.",
    "人人生而自由，在尊严和权利上一律平等。你好，请问今天天气怎么样？很好，谢谢。",
]
LLAMA3_TOKENS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
CHATML_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def train(special: list[str], bos: str | None, eos: str | None) -> Tokenizer:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        CORPUS * 4,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if bos is None:
        # As GPT-2's has: it trims spaces from offsets, which must not move the mask.
        core.post_processor = processors.ByteLevel(trim_offsets=True)
    else:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    backend = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=bos, eos_token=eos)
    return Tokenizer(backend)


@pytest.fixture(scope="session")
def llama3() -> Tokenizer:
    return train(LLAMA3_TOKENS, "<|begin_of_text|>", "<|end_of_text|>")


@pytest.fixture(scope="session")
def chatml() -> Tokenizer:
    return train(CHATML_TOKENS, None, "<|im_end|>")


@pytest.fixture
def plain() -> Tokenizer:
    """A base model's tokenizer: BOS and EOS, no chat tokens."""
    return train(["<s>", "</s>"], "<s>", "</s>")
