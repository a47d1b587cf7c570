"""A GGUF file as a source of a model: config, tensors and tokenizer in Hugging Face's terms.

Sources: the format's specification (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)
and llama.cpp's converters `conversion/{llama,qwen}.py`, whose steps are undone here.
"""

import os
import re
from functools import cached_property
from typing import Any

import gguf
import ml_dtypes
import numpy as np
from transformers import PreTrainedTokenizerFast

from vcjax.core.errors import UserError, suggest
from vcjax.weights.gguf.conventions import (
    ARCHITECTURES,
    ROPE_FACTORS,
    hf_name,
    is_permuted,
    rope_scaling,
    unpermuted,
)
from vcjax.weights.gguf.metadata import open_gguf
from vcjax.weights.gguf.tokenizer import build_tokenizer
from vcjax.weights.mapping import Source

FLOATS = {
    gguf.GGMLQuantizationType.F32: "float32",
    gguf.GGMLQuantizationType.F16: "float16",
    gguf.GGMLQuantizationType.BF16: "bfloat16",
}

_ROWS = 8192  # dequantised at a time

# What closes an assistant's turn in the chat formats of the supported families (Llama 3, ChatML).
_END_OF_TURN = ("<|eot_id|>", "<|eom_id|>", "<|im_end|>")


class GGUFSource(Source):
    """One GGUF file. Tensors are read, dequantised and renamed one at a time, when asked for.

    Raises:
      UserError: for each mistake named in `open_gguf`, and for an unsupported architecture.
    """

    def __init__(self, path: str | os.PathLike):
        self._metadata, tensors = open_gguf(path)
        self.path = self._metadata.path
        self._tensors = {tensor.name: tensor for tensor in tensors}
        self.architecture = self._metadata.required("general.architecture", str)
        if self.architecture not in ARCHITECTURES:
            raise UserError(
                f"{self.path}: architecture {self.architecture!r} is not supported (supported: "
                f"{', '.join(ARCHITECTURES)}){suggest(self.architecture, ARCHITECTURES)}"
            )

    @cached_property
    def config(self) -> dict[str, Any]:
        """The metadata in the layout of a Hugging Face `config.json`.

        Raises:
          UserError: a key is missing or of the wrong type, sizes differ between layers, or RoPE
            is applied in a way that the supported models don't know.
        """
        if "token_embd.weight" not in self._tensors:
            raise UserError(f"{self.path}: tensor 'token_embd.weight' is missing")
        architecture = ARCHITECTURES[self.architecture]
        factors = self._tensors[ROPE_FACTORS].data if ROPE_FACTORS in self._tensors else None
        config = {
            "architectures": [architecture],
            "model_type": self.architecture,
            "hidden_size": self._integer("embedding_length"),
            "intermediate_size": self._integer("feed_forward_length"),
            "num_hidden_layers": self._integer("block_count"),
            "num_attention_heads": self._heads,
            "num_key_value_heads": self._kv_heads,
            # The embedding's rows count; the key `vocab_size` is not written for every model.
            "vocab_size": int(self._tensors["token_embd.weight"].shape[1]),
            "max_position_embeddings": self._integer("context_length"),
            "hidden_act": "silu",
            "rms_norm_eps": self._metadata.required(
                f"{self.architecture}.attention.layer_norm_rms_epsilon", float
            ),
            "rope_theta": self._rope_theta,
            "rope_scaling": rope_scaling(
                self._metadata, self.architecture, self._rope_theta, self._head_dim, factors
            ),
            # llama.cpp's converter leaves the head out where it is the embedding.
            "tie_word_embeddings": "output.weight" not in self._tensors,
            "torch_dtype": self._dtype(),
        }
        if self._explicit_head_dim is not None:
            config["head_dim"] = self._explicit_head_dim
        # In HF's Qwen2 the bias has no config field.
        if self.architecture != "qwen2":
            config["attention_bias"] = self._has_bias("attn_")
        if self.architecture == "llama":
            config["mlp_bias"] = self._has_bias("ffn_")
        return config | self._special_ids()

    @property
    def generation_config(self) -> dict[str, Any]:
        """The ids that begin, end and pad a text, as in HF's `generation_config.json`.

        `eos_token_id` is a list where several tokens end a turn: besides the file's EOS these are
        its EOT and EOM ids and the end-of-turn tokens that its chat template writes.
        """
        ids: dict[str, Any] = self._special_ids()
        ends = [ids.get("eos_token_id")]
        ends += [
            self._metadata.optional(f"tokenizer.ggml.{n}_token_id", int) for n in ("eot", "eom")
        ]
        template = self._metadata.optional("tokenizer.chat_template", str) or ""
        tokens = self._metadata.optional("tokenizer.ggml.tokens", list) or []
        ends += [tokens.index(t) for t in _END_OF_TURN if t in template and t in tokens]
        unique = list(dict.fromkeys(end for end in ends if end is not None))
        if unique:
            ids["eos_token_id"] = unique[0] if len(unique) == 1 else unique
        return ids

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Rebuilds the tokenizer; see `build_tokenizer` for the errors."""
        return build_tokenizer(self._metadata)

    def names(self) -> list[str]:
        """The tensors' names in Hugging Face checkpoints; an unknown tensor is a UserError."""
        return list(self._by_name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape in Hugging Face's orientation: `[out, in]` for a matrix."""
        # GGUF lists the fastest dimension first.
        return tuple(int(size) for size in reversed(self._find(name).shape))

    def tensor(self, name: str) -> np.ndarray:
        """Reads one tensor: float16, bfloat16 or float32 as stored, dequantised ones float32."""
        array = self._read(self._find(name))
        if not is_permuted(self.architecture, name):
            return array
        heads = self._heads if ".q_proj." in name else self._kv_heads
        if array.shape[0] != heads * self._head_dim:
            raise UserError(
                f"{self.path}: tensor {name!r} has {array.shape[0]} rows, where {heads} heads of "
                f"{self._head_dim} are expected"
            )
        return unpermuted(array, heads)

    def _read(self, stored: gguf.ReaderTensor) -> np.ndarray:
        kind, mapped = stored.tensor_type, stored.data
        # At its offset: pages of the memory map would count as resident once they were read.
        data = np.fromfile(self.path, mapped.dtype, mapped.size, offset=stored.data_offset)
        data = data.reshape(mapped.shape)
        if kind == gguf.GGMLQuantizationType.BF16:
            return data.view(ml_dtypes.bfloat16)
        if kind in FLOATS:
            return data
        # Rows are cut, never columns: a row is whole blocks of 32 weights, or super-blocks of 256
        # in the K-quants, whose scales are among the bytes of the block.
        rows = data.reshape(-1, mapped.shape[-1])
        array = np.empty((len(rows), stored.shape[0]), np.float32)
        # By blocks of rows: `gguf` needs twice the memory of what it dequantises.
        for start in range(0, len(rows), _ROWS):
            some = slice(start, start + _ROWS)
            array[some] = gguf.quants.dequantize(rows[some], kind)
        return array.reshape(stored.shape[::-1])

    @cached_property
    def _by_name(self) -> dict[str, gguf.ReaderTensor]:
        return {
            self._hf_name(name): tensor
            for name, tensor in self._tensors.items()
            if name != ROPE_FACTORS  # part of the config, not of the weights
        }

    def _hf_name(self, name: str) -> str:
        found = hf_name(name)
        if found is None:
            raise UserError(
                f"{self.path}: tensor {name!r} has no counterpart in {self.architecture} models; "
                f"this variant of the architecture is not supported"
            )
        return found

    def _find(self, name: str) -> gguf.ReaderTensor:
        if name not in self._by_name:
            raise UserError(f"{self.path}: no tensor {name!r}{suggest(name, self._by_name)}")
        return self._by_name[name]

    def _integer(self, key: str) -> int:
        key = f"{self.architecture}.{key}"
        value = self._metadata.values.get(key)
        if isinstance(value, list):  # one value a layer
            if len(set(value)) != 1:
                raise UserError(f"{self.path}: {key!r} differs between layers: not supported")
            return int(value[0])
        size = self._metadata.required(key, int)
        if size < 1:
            raise UserError(f"{self.path}: {key!r} is {size}; it must be positive")
        return size

    @property
    def _heads(self) -> int:
        return self._integer("attention.head_count")

    @property
    def _kv_heads(self) -> int:
        key = "attention.head_count_kv"
        if f"{self.architecture}.{key}" not in self._metadata.values:
            return self._heads
        return self._integer(key)

    @property
    def _explicit_head_dim(self) -> int | None:
        return self._metadata.optional(f"{self.architecture}.attention.key_length", int)

    @property
    def _head_dim(self) -> int:
        return self._explicit_head_dim or self._integer("embedding_length") // self._heads

    @property
    def _rope_theta(self) -> float:
        # 10000 is llama.cpp's default and config.json's: older files leave the key out.
        return self._metadata.optional(f"{self.architecture}.rope.freq_base", float) or 10_000.0

    def _has_bias(self, prefix: str) -> bool:
        pattern = re.compile(rf"blk\.\d+\.{prefix}\w+\.bias")
        return any(pattern.fullmatch(name) for name in self._tensors)

    def _dtype(self) -> str:
        # Norms are float32 in every file, so the matrices decide.
        kinds = {t.tensor_type for t in self._tensors.values() if len(t.shape) > 1}
        return FLOATS.get(kinds.pop(), "float32") if len(kinds) == 1 else "float32"

    def _special_ids(self) -> dict[str, int]:
        keys = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
        found = {
            field: self._metadata.optional(f"tokenizer.ggml.{key}_token_id", int)
            for field, key in keys.items()
        }
        return {field: value for field, value in found.items() if value is not None}
