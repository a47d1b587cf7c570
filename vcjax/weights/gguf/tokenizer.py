"""A Hugging Face tokenizer from the vocabulary in a GGUF file's metadata.

transformers' own GGUF tokenizer needs PyTorch and knows fewer pre-tokenizers. Sources: the
`tokenizer.json` files of the models named below; for defaults, llama.cpp's `llama-vocab.cpp`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
)
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

from vcjax.core.errors import UserError, suggest
from vcjax.weights.gguf.metadata import Metadata


class TokenType(IntEnum):
    """`tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Split:
    """How byte-level BPE cuts text before merging.

    Attributes:
      pattern: the pieces' regular expression, or None for GPT-2's.
      digits: whether each digit is a piece of its own, before the pattern applies.
      nfc: whether text is normalised to NFC first.
      whole_words: whether a piece that is in the vocabulary is taken without merging.
      bos: whether BOS is prepended where the file has no such key.
    """

    pattern: str | None = None
    digits: bool = False
    nfc: bool = False
    whole_words: bool = False
    bos: bool = False


# Words with one leading symbol; digits in threes (Llama 3) or one by one (Qwen2).
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3 = Split(pattern=_WORDS % r"\p{N}{1,3}", whole_words=True, bos=True)
# Mistral Nemo: a word ends where lower case turns to upper.
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Keyed by `tokenizer.ggml.pre`.
SPLITS = {
    "gpt-2": Split(),
    "default": Split(),
    "smollm": Split(digits=True),
    "starcoder": Split(digits=True),
    "qwen2": Split(pattern=_WORDS % r"\p{N}", nfc=True),
    "deepseek-r1-qwen": Split(pattern=_WORDS % r"\p{N}"),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "tekken": Split(pattern=_TEKKEN, whole_words=True, bos=True),
}


def build_tokenizer(metadata: Metadata) -> PreTrainedTokenizerFast:
    """Rebuilds a GGUF file's tokenizer with its special tokens, chat template and BOS rule.

    Raises:
      UserError: a missing key, an unsupported kind of tokenizer or pre-tokenizer, or lists that
        don't fit each other.
    """
    model = metadata.required("tokenizer.ggml.model", str)
    if model not in _BUILDERS:
        raise UserError(
            f"{metadata.path}: tokenizer model {model!r} is not supported "
            f"(supported: {', '.join(_BUILDERS)}){suggest(model, _BUILDERS)}"
        )
    tokens = metadata.required("tokenizer.ggml.tokens", list)
    types = metadata.required("tokenizer.ggml.token_type", list)
    if len(types) != len(tokens):
        raise UserError(
            f"{metadata.path}: {len(tokens)} tokens, but {len(types)} token types; "
            f"convert the model again"
        )
    named = _named_tokens(metadata, tokens)
    backend, add_bos = _BUILDERS[model](metadata, tokens, types)
    special = (TokenType.CONTROL, TokenType.UNKNOWN)
    # `normalized=False`: these are found in the text as it was given.
    backend.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind in special
        ]
    )
    backend.add_tokens(
        [
            AddedToken(token, special=False, normalized=False)
            for token, kind in zip(tokens, types, strict=True)
            if kind == TokenType.USER_DEFINED
        ]
    )
    stated = metadata.optional("tokenizer.ggml.add_bos_token", bool)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **named,
        add_bos_token=add_bos if stated is None else stated,
        add_eos_token=metadata.optional("tokenizer.ggml.add_eos_token", bool) or False,
        chat_template=metadata.optional("tokenizer.chat_template", str),
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _named_tokens(metadata: Metadata, tokens: list[str]) -> dict[str, str]:
    keys = {
        "bos_token": "bos",
        "eos_token": "eos",
        "unk_token": "unknown",
        "pad_token": "padding",
    }
    named = {}
    for role, key in keys.items():
        identity = metadata.optional(f"tokenizer.ggml.{key}_token_id", int)
        if identity is None:
            continue
        if not 0 <= identity < len(tokens):
            raise UserError(
                f"{metadata.path}: tokenizer.ggml.{key}_token_id is {identity}, but there are "
                f"{len(tokens)} tokens"
            )
        named[role] = tokens[identity]
    return named


def _vocabulary(tokens: list[str], types: list[int]) -> dict[str, int]:
    # Unused ids only pad the embedding; llama.cpp's converter invents names for them.
    return {
        token: identity
        for identity, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind != TokenType.UNUSED
    }


def _merges(metadata: Metadata, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    merges = []
    for merge in metadata.required("tokenizer.ggml.merges", list):
        left, _, right = merge.partition(" ")
        if not {left, right, left + right} <= vocabulary.keys():
            raise UserError(
                f"{metadata.path}: the merge {merge!r} names a token that isn't in the "
                f"vocabulary; convert the model again"
            )
        merges.append((left, right))
    return merges


def _byte_level(metadata: Metadata, tokens: list[str], types: list[int]) -> tuple[Tokenizer, bool]:
    """GPT-2's byte-level BPE; also returns whether BOS is added by default."""
    name = metadata.required("tokenizer.ggml.pre", str)
    if name not in SPLITS:
        raise UserError(
            f"{metadata.path}: pre-tokenizer {name!r} (tokenizer.ggml.pre) is not supported "
            f"(supported: {', '.join(SPLITS)}){suggest(name, SPLITS)}"
        )
    split = SPLITS[name]
    vocabulary = _vocabulary(tokens, types)
    tokenizer = Tokenizer(
        BPE(
            vocab=vocabulary,
            merges=_merges(metadata, vocabulary),
            ignore_merges=split.whole_words,
        )
    )
    if split.nfc:
        tokenizer.normalizer = normalizers.NFC()
    steps = []
    if split.digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if split.pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(split.pattern), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split.pattern is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, split.bos


def _sentencepiece(
    metadata: Metadata, tokens: list[str], types: list[int]
) -> tuple[Tokenizer, bool]:
    """SentencePiece's BPE as in Llama 2; also returns whether BOS is added by default.

    SentencePiece merges the neighbours whose union scores highest; the same choice falls out of
    BPE when each way to split a token is a merge, ordered by the token's score.
    """
    vocabulary = _vocabulary(tokens, types)
    if "tokenizer.ggml.merges" in metadata.values:
        merges = _merges(metadata, vocabulary)
    else:
        scores = metadata.required("tokenizer.ggml.scores", list)
        if len(scores) != len(tokens):
            raise UserError(f"{metadata.path}: {len(tokens)} tokens, but {len(scores)} scores")
        # Control tokens score 0, above all others: merged, '<s>' in a text would become BOS.
        merges = generate_merges(
            vocabulary,
            dict(zip(tokens, scores, strict=True)),
            skip_tokens={t for t, k in zip(tokens, types, strict=True) if k != TokenType.NORMAL},
        )
    unknown = metadata.optional("tokenizer.ggml.unknown_token_id", int)
    tokenizer = Tokenizer(
        BPE(
            vocab=vocabulary,
            merges=merges,
            byte_fallback=True,
            fuse_unk=True,
            unk_token=None if unknown is None else tokens[unknown],
        )
    )
    prefix = metadata.optional("tokenizer.ggml.add_space_prefix", bool) is not False
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", "▁")]
    decoding: list[decoders.Decoder] = [
        decoders.Replace("▁", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
    ]
    if prefix:
        spaces.insert(0, normalizers.Prepend("▁"))
        # Takes back the space that the normaliser puts before a text.
        decoding.append(decoders.Strip(content=" ", left=1))
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.decoder = decoders.Sequence(decoding)
    return tokenizer, True


_BUILDERS: dict[str, Callable[[Metadata, list[str], list[int]], tuple[Tokenizer, bool]]] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece,
}
