"""One tokenizer class for the files in model folders: tokenizer.json or SentencePiece."""

import copy
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.text.encoder import Encoder

CONFIG = "tokenizer_config.json"
SYSTEM_MODES = ("template", "first_user")
_OWN = "vcjax_chat"  # our key in tokenizer_config.json, which other readers pass over


class MissingTokenizer(UserError):
    """A folder that has no tokenizer files."""


class Tokenizer:
    """Text to token ids and back.

    Attributes:
        backend: the `transformers` tokenizer (of the kind that `tokenizers` runs).
        chat_template: the Jinja source of the model's own chat template, or None.
        template_options: what the template sees beside the messages, e.g. `enable_thinking`.
        system: where a leading system message goes: to the `template`, or into the `first_user`
            message, for templates without a system role.
    """

    def __init__(
        self,
        backend: PreTrainedTokenizerFast,
        template_options: Mapping[str, Any] | None = None,
        system: str = "template",
    ):
        """Takes over the backend's chat template.

        Raises:
          UserError: the `tokenizers` library doesn't run this tokenizer.
        """
        if not isinstance(backend, PreTrainedTokenizerFast):
            raise UserError(
                f"tokenizer {type(backend).__name__} has no fast form; "
                "save it as tokenizer.json beside the model"
            )
        self.backend = backend
        self.chat_template = _only_template(backend)
        self.template_options, self.system = dict(template_options or {}), system

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Encodes text; adds no BOS.

        Args:
          special: whether special tokens' strings in the text are parsed as special tokens. A
            user's text must never be. (Added tokens that the tokenizer doesn't declare special,
            such as `<think>`, are ordinary vocabulary either way.)

        Raises:
          UserError: the text has half a surrogate pair (JSON can spell one).
        """
        _check_unicode(text)
        if special:
            return [token.id for token in self.encoder.parsed(text)]
        return self.encoder.plain([text])[0]

    def encode_texts(self, texts: Sequence[str]) -> list[Int32[np.ndarray, " tokens"]]:
        """Encodes texts as `encode` does each, several times as fast, on all cores.

        Raises:
          UserError: as of `encode`, without naming the text.
        """
        for text in texts:
            _check_unicode(text)
        return self.encoder.plain_texts(texts)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """Decodes ids; `skip_special` leaves special tokens out."""
        text = self.backend.decode(
            list(ids), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)  # a list only for a list of lists
        return text

    @property
    def vocab_size(self) -> int:
        """The number of tokens, added ones included (a model's embedding may be padded beyond)."""
        return len(self.backend)

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text; None where the tokenizer has none."""
        return _id(self.backend.bos_token_id)

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text; chat templates may end a turn with another one."""
        return _id(self.backend.eos_token_id)

    @property
    def pad_id(self) -> int | None:
        """The token that the tokenizer pads with; no mask of a batch is inferred from it."""
        return _id(self.backend.pad_token_id)

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the tokenizer's own encoding begins with BOS, as documents then do."""
        return self.bos_id is not None and self.backend("a").input_ids[:1] == [self.bos_id]

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """String -> id of the tokens that the tokenizer declares special."""
        added = self.backend.added_tokens_decoder.items()
        return {token.content: id for id, token in added if token.special}

    @cached_property
    def encoder(self) -> Encoder:
        """The two ways of encoding, made on first use."""
        special = frozenset(self.special_tokens.values()) - {_id(self.backend.unk_token_id)}
        return Encoder(self.backend.backend_tokenizer, special)

    @cached_property
    def meaningless_character(self) -> str:
        """A character that no special token has."""
        used = set("".join(self.special_tokens))
        # From U+FDD0 on, the first of Unicode's noncharacters, which no text is meant to have.
        return next(c for c in map(chr, range(0xFDD0, 0x10FFFE)) if c not in used)

    def with_template(self, template: str | None) -> "Tokenizer":
        """The same tokenizer with another chat template."""
        backend = copy.copy(self.backend)  # shares the vocabulary
        backend.chat_template = template
        return Tokenizer(backend, self.template_options, self.system)

    def with_settings(self, template_options: Mapping[str, Any], system: str) -> "Tokenizer":
        """The same tokenizer that renders chats with these settings; see the attributes."""
        changed = copy.copy(self)  # shares what was made on first use
        changed.template_options, changed.system = dict(template_options), system
        return changed

    def save(self, folder: str | os.PathLike) -> None:
        """Writes tokenizer.json, tokenizer_config.json and, if there is one, chat_template.jinja.

        A template file that an earlier save left is removed where there is none now. How chats are
        rendered, beside the template, is a field of tokenizer_config.json that we alone read.
        """
        folder = Path(folder)
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        try:
            self.backend.save_pretrained(folder)
        except Exception as error:  # `tokenizers` raises no OSError of its own
            if not (number := re.search(r"\(os error (\d+)\)$", str(error))):
                raise
            code = int(number[1])
            raise OSError(code, os.strerror(code), str(folder)) from error
        own = {}
        if self.template_options:
            own["template_options"] = self.template_options
        if self.system != "template":
            own["system"] = self.system
        _make_portable(folder / CONFIG, own)


def load_tokenizer(folder: str | os.PathLike) -> Tokenizer:
    """Loads the tokenizer of a model folder; no network, no code from the folder.

    Raises:
        MissingTokenizer: the folder has no tokenizer files.
        UserError: the files are there but can't be read as a tokenizer.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    has = {path.name for path in folder.iterdir()}
    try:
        # Where a folder has tokenizer.json, that file is the truth: classes named in
        # tokenizer_config.json rebuild parts of it, and derived models often name the wrong class.
        if "tokenizer.json" in has:
            backend = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        elif "tokenizer.model" in has or {"vocab.json", "merges.txt"} <= has:
            backend = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        else:
            raise MissingTokenizer(
                f"{folder}: no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with "
                "merges.txt); copy the model's tokenizer files there"
            )
    except MissingTokenizer:
        raise
    except Exception as error:  # the loaders raise bare Exception on a malformed file
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: the tokenizer can't be read ({reason})") from error
    return Tokenizer(backend, *_settings(folder / CONFIG))


def _settings(config_path: Path) -> tuple[dict[str, Any], str]:
    """How chats are rendered, as `Tokenizer.save` has recorded it."""
    config = read_json(config_path) if config_path.is_file() else {}
    own = config.get(_OWN, {}) if isinstance(config, dict) else {}
    options, system = own.get("template_options", {}), own.get("system", "template")
    if not isinstance(options, dict) or system not in SYSTEM_MODES:
        raise UserError(f"{config_path}: {_OWN}: not what Tokenizer.save writes")
    return options, system


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"not Unicode text ({error.reason} at {error.start})") from None


def _id(value: object) -> int | None:
    """A special token's id: transformers types its named tokens loosely."""
    return value if isinstance(value, int) else None


def _only_template(backend: PreTrainedTokenizerFast) -> str | None:
    templates = backend.chat_template
    if not isinstance(templates, dict):
        return templates
    if "default" not in templates:
        names = ", ".join(sorted(templates))
        raise UserError(
            f"{backend.name_or_path}: chat templates {names}, and none is named 'default'; "
            "put one in chat_template.jinja"
        )
    return templates["default"]


def _make_portable(config_path: Path, own: Mapping[str, Any]) -> None:
    """Rewrites what only this release of transformers understands, or only this machine needs, and
    adds settings of our `own`."""
    config = read_json(config_path)
    config.pop(_OWN, None)  # as loaded, before it was changed
    if own:
        config[_OWN] = dict(own)
    config.pop("is_local", None)
    config.pop("local_files_only", None)
    if config.get("tokenizer_class") == "TokenizersBackend":  # transformers 5's new name
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):  # transformers 4 wants a dict there
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    write_json(config_path, config)
