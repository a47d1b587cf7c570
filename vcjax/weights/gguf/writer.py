"""A model as one GGUF file, which llama.cpp, Ollama and whatever is built on them serve.

Matrices are stored as F32, F16, BF16 or Q8_0 (blocks of 32 weights of 8 bits with a scale each),
vectors always as F32, as llama.cpp's own converter does. One tensor is in memory at a time.
"""

import logging
import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from vcjax.core.errors import UserError
from vcjax.core.progress import Progress
from vcjax.model.config import LlamaConfig
from vcjax.weights.gguf.conventions import (
    ARCHITECTURES,
    ROPE_FACTORS,
    gguf_name,
    is_permuted,
    permuted,
    rope_factors,
)
from vcjax.weights.gguf.vocabulary import vocabulary_metadata
from vcjax.weights.mapping import tensor_locations
from vcjax.weights.model import AnyModel

FILE = "model.gguf"
Q8_0 = "q8_0"
TYPES = {
    "float32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "float16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bfloat16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    Q8_0: (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
_ARCHITECTURES = {name: key for key, name in ARCHITECTURES.items()} | {
    "MistralForCausalLM": "llama"
}
_MOST_ENDS = 3
_INTEGER, _FLOAT = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32

_log = logging.getLogger(__name__)


def write_gguf(folder: Path, model: AnyModel, kind: str) -> None:
    """Writes `model.gguf` into a folder.

    Args:
      kind: of the matrices, a key of `TYPES`.

    Raises:
      UserError: no tokenizer, which a file must have; an architecture or a tokenizer that GGUF
        files can't have; or weights beyond the range of float16.
    """
    config, source = model.config, model.source
    if config.windows:
        raise UserError("a GGUF file can't have the sliding windows of this model's attention")
    ends = model.eos_ids
    vocabulary = vocabulary_metadata(model.require_tokenizer(), config.vocab_size, ends)
    if len(ends) > _MOST_ENDS:
        _log.warning("of %d ids that end an answer a GGUF file has %d", len(ends), _MOST_ENDS)
    architecture = _ARCHITECTURES[config.architecture]
    writer = gguf.GGUFWriter(folder / FILE, architecture)
    _add_settings(writer, config, architecture)
    writer.add_name(model.origin.reference.rstrip("/").rpartition("/")[2])
    writer.add_file_type(TYPES[kind][1])
    if kind == Q8_0:
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_vocabulary(writer, vocabulary)
    shapes = {each.name: each.tensor_shape for each in tensor_locations(config)}
    factors = rope_factors(config.rope, config.head_dim)
    if factors is not None:
        writer.add_tensor_info(ROPE_FACTORS, factors.shape, factors.dtype, factors.nbytes)
    for name, shape in shapes.items():
        _add_info(writer, name, shape, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    elements = sum(map(math.prod, shapes.values()))
    with Progress(total=elements, unit="weights", unit_scale=True, desc="gguf") as bar:
        for name, shape in shapes.items():
            array = source.tensor(name)
            if is_permuted(architecture, name):
                heads = config.num_heads if ".q_proj." in name else config.num_kv_heads
                array = permuted(array, heads)
            writer.write_tensor_data(_stored(name, array, _type_of(shape, kind)))
            bar.update(math.prod(shape))
    writer.close()


def _add_settings(writer: gguf.GGUFWriter, config: LlamaConfig, architecture: str) -> None:
    settings: dict[str, tuple[Any, gguf.GGUFValueType]] = {
        "vocab_size": (config.vocab_size, _INTEGER),
        "context_length": (config.max_position, _INTEGER),
        "embedding_length": (config.hidden_size, _INTEGER),
        "block_count": (config.num_layers, _INTEGER),
        "feed_forward_length": (config.intermediate_size, _INTEGER),
        "attention.head_count": (config.num_heads, _INTEGER),
        "attention.head_count_kv": (config.num_kv_heads, _INTEGER),
        "attention.key_length": (config.head_dim, _INTEGER),
        "attention.value_length": (config.head_dim, _INTEGER),
        "attention.layer_norm_rms_epsilon": (config.rms_norm_eps, _FLOAT),
        "rope.dimension_count": (config.head_dim, _INTEGER),
        "rope.freq_base": (config.rope.theta, _FLOAT),
    }
    if config.rope.rope_type == "linear":
        settings["rope.scaling.type"] = ("linear", gguf.GGUFValueType.STRING)
        settings["rope.scaling.factor"] = (config.rope.factor, _FLOAT)
    for key, (value, kind) in settings.items():
        writer.add_key_value(f"{architecture}.{key}", value, kind)


def _add_vocabulary(writer: gguf.GGUFWriter, metadata: dict[str, Any]) -> None:
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)


def _type_of(shape: tuple[int, ...], kind: str) -> gguf.GGMLQuantizationType:
    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    stored = TYPES[kind][0]
    # As llama.cpp does where a row isn't whole blocks.
    is_whole = shape[-1] % gguf.GGML_QUANT_SIZES[stored][0] == 0
    return stored if is_whole else gguf.GGMLQuantizationType.F16


def _add_info(writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], kind: str) -> None:
    stored = _type_of(shape, kind)
    block, size = gguf.GGML_QUANT_SIZES[stored]
    # The shape in bytes: from it and the type the writer works out the one in weights.
    of_bytes = (*shape[:-1], shape[-1] // block * size)
    writer.add_tensor_info(
        gguf_name(name), of_bytes, np.dtype(np.uint8), math.prod(of_bytes), raw_dtype=stored
    )


def _stored(name: str, array: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    array = array.astype(np.float32)
    if kind == gguf.GGMLQuantizationType.F16:
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        if not np.isfinite(half).all():
            raise UserError(f"{name}: has weights beyond the range of float16; store another dtype")
        return half
    return gguf.quants.quantize(array, kind)
