"""A tokenizer as the metadata of a GGUF file: what `vcjax.weights.gguf.tokenizer` reads, written.

A GGUF file has no rules for cutting text, only the name of a pre-tokenizer that llama.cpp knows.
The name is found by trying: the tokenizer that the file would give must encode a text in which the
known ones differ as the original does.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.gguf.metadata import Metadata
from vcjax.weights.gguf.tokenizer import SPLITS, TokenType, build_tokenizer

_PREFIX = "tokenizer.ggml."
_END_KEYS = ("eos", "eot", "eom")
"""Keys of the tokens that end an answer, by `{key}_token_id`."""
# Contractions, digits, kinds of white space, letters of several cases and scripts, accents that are
# composed in NFC, symbols, and bytes that no vocabulary has as one token.
PROBE = (
    "It's WE'LL naïve cafe\u0301  20240125 x1 3.14\n\n\t  camelCaseWords HTTPServer\r\n"
    " 公平的回答，不是吗？한국어 Привет 😀🏳️‍🌈 <|x|> a_b (c) -> ==\n   end "
)
_GENERATION = re.compile(r"\{%([-+]?)(\s*(?:end)?generation\s*)([-+]?)%\}")


def vocabulary_metadata(tokenizer: Tokenizer, size: int, ends: Sequence[int]) -> dict[str, Any]:
    """The keys `tokenizer.*` of a file.

    Args:
      size: of the model's vocabulary, which may be padded beyond the tokenizer's.
      ends: ids that end an answer. A file has room for three; of a chat model llama.cpp knows the
        usual ends of a turn by their names too.

    Raises:
      UserError: a tokenizer that GGUF files can't have.
    """
    core = json.loads(tokenizer.backend.backend_tokenizer.to_str())
    model = core["model"]
    if model["type"] != "BPE":
        raise UserError(f"a GGUF file can't have a tokenizer of type {model['type']}, only BPE")
    if tokenizer.vocab_size > size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, and the model's vocabulary {size}"
        )
    is_sentencepiece = bool(model.get("byte_fallback"))
    shared = _tokens(tokenizer, size, is_sentencepiece) | _named(tokenizer, ends)
    if tokenizer.chat_template is not None:
        shared["tokenizer.chat_template"] = without_generation_marks(tokenizer.chat_template)
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    candidates = (
        _sentencepiece_kinds(shared[_PREFIX + "tokens"], merges)
        if is_sentencepiece
        else _byte_level_kinds(merges)
    )
    for kind in candidates:
        metadata = shared | {_PREFIX + key: value for key, value in kind.items()}
        built = Tokenizer(build_tokenizer(Metadata(Path("written"), metadata)))
        # Where there are few merges, texts that are cut in other ways may have the same ids.
        is_cut_alike = is_sentencepiece or _cuts(built) == _cuts(tokenizer)
        if is_cut_alike and built.encode(PROBE) == tokenizer.encode(PROBE):
            return metadata
    raise UserError(
        "a GGUF file can't have this tokenizer: no pre-tokenizer that llama.cpp knows cuts text as "
        "it does"
    )


def without_generation_marks(template: str) -> str:
    """A template without `{% generation %}`, which only transformers knows; white space stays."""
    return _GENERATION.sub(r"{#\1\2\3#}", template)


def _cuts(tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Where the pieces of the probe start and end."""
    cutter = tokenizer.backend.backend_tokenizer.pre_tokenizer
    return [] if cutter is None else [span for _, span in cutter.pre_tokenize_str(PROBE)]


def _tokens(tokenizer: Tokenizer, size: int, is_sentencepiece: bool) -> dict[str, Any]:
    tokens = [f"[PAD{identity}]" for identity in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for token, identity in tokenizer.backend.backend_tokenizer.get_vocab().items():
        is_byte = is_sentencepiece and re.fullmatch(r"<0x[0-9A-F]{2}>", token) is not None
        tokens[identity], types[identity] = token, TokenType.BYTE if is_byte else TokenType.NORMAL
    for identity, token in tokenizer.backend.added_tokens_decoder.items():
        types[identity] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    unknown = tokenizer.backend.unk_token_id
    if is_sentencepiece and isinstance(unknown, int):
        types[unknown] = TokenType.UNKNOWN
    return {_PREFIX + "tokens": tokens, _PREFIX + "token_type": [int(kind) for kind in types]}


def _named(tokenizer: Tokenizer, ends: Sequence[int]) -> dict[str, Any]:
    unknown = tokenizer.backend.unk_token_id
    named = {
        "bos": tokenizer.bos_id,
        "padding": tokenizer.pad_id,
        "unknown": unknown if isinstance(unknown, int) else None,
    }
    eos = tokenizer.eos_id
    # The tokenizer's own first, where it is one of them: it is the one that documents end with.
    ordered = sorted(dict.fromkeys(ends), key=lambda identity: identity != eos)
    if not ordered and eos is not None:
        ordered = [eos]
    named |= dict(zip(_END_KEYS, ordered, strict=False))
    ids = {f"{_PREFIX}{key}_token_id": id for key, id in named.items() if id is not None}
    return {**ids, _PREFIX + "add_bos_token": tokenizer.adds_bos, _PREFIX + "add_eos_token": False}


def _byte_level_kinds(merges: list[str]) -> Iterator[dict[str, Any]]:
    for name in SPLITS:
        yield {"model": "gpt2", "pre": name, "merges": merges}


def _sentencepiece_kinds(tokens: list[str], merges: list[str]) -> Iterator[dict[str, Any]]:
    """SentencePiece merges the pair whose union scores highest, so a token's score is the rank of
    the first merge that makes it, negative."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges, start=1):
        ranks.setdefault(merge.replace(" ", "", 1), rank)
    lowest = len(merges) + 1
    # Single characters aren't made by a merge, and control tokens by none at all.
    scores = [-float(ranks.get(token, lowest)) for token in tokens]
    for prefix in (True, False):
        yield {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": prefix}
