"""Writes a Hugging Face folder of random bfloat16 weights, shard by shard.

    python -m tests.weights.random_checkpoint --shape=llama3-8b --dst=/tmp/llama3-8b

Written by the safetensors library, so that the project's own reader and writer are tested on a file
that neither of them made. A shard is in memory twice while it is written: 2.4 GiB at the peak.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors.numpy
from absl import app, flags
from tqdm import tqdm

from vcjax.core.files import write_json

_LLAMA3 = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
SHAPES = {
    "llama3-8b": {
        **_LLAMA3,
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "bos_token_id": 128_000,
        "eos_token_id": 128_001,
    },
    # 320 MB in small tensors: what holds all of them can be told from what holds a few.
    "deep-160m": {
        **_LLAMA3,
        "vocab_size": 8192,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 38,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
}
SHARD_BYTES = 1_200_000_000


def write_random(folder: Path, shape: str, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes the folder; every tensor is a function of its name alone."""
    raw = SHAPES[shape]
    folder.mkdir(parents=True)
    write_json(folder / "config.json", raw)
    shards = list(_shards(raw, shard_bytes))
    weight_map: dict[str, str] = {}
    total = sum(2 * int(np.prod(shape)) for shard in shards for shape in shard.values())
    with tqdm(total=total, unit="B", unit_scale=True, desc=shape, disable=None) as bar:
        for number, shard in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            tensors = {name: _random(name, shape) for name, shape in shard.items()}
            safetensors.numpy.save_file(tensors, folder / file, metadata={"format": "pt"})
            weight_map.update(dict.fromkeys(shard, file))
            bar.update(sum(tensor.nbytes for tensor in tensors.values()))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)


def _tensors(raw: dict) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, middle, vocab = raw["hidden_size"], raw["intermediate_size"], raw["vocab_size"]
    keys = hidden // raw["num_attention_heads"] * raw["num_key_value_heads"]
    yield "model.embed_tokens.weight", (vocab, hidden)
    for layer in range(raw["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (hidden,)
        for name, rows in (("q", hidden), ("k", keys), ("v", keys), ("o", hidden)):
            yield f"{prefix}.self_attn.{name}_proj.weight", (rows, hidden)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,)
        yield f"{prefix}.mlp.gate_proj.weight", (middle, hidden)
        yield f"{prefix}.mlp.up_proj.weight", (middle, hidden)
        yield f"{prefix}.mlp.down_proj.weight", (hidden, middle)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocab, hidden)


def _shards(raw: dict, limit: int) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    size = 0
    for name, shape in _tensors(raw):
        bytes_ = 2 * int(np.prod(shape))
        if shard and size + bytes_ > limit:
            yield shard
            shard, size = {}, 0
        shard[name] = shape
        size += bytes_
    yield shard


def _random(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers of the size that weights have, made in blocks of rows: float32 is wider."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    generator = np.random.Generator(np.random.SFC64(seed))
    tensor = np.empty(shape, ml_dtypes.bfloat16)
    for start in range(0, shape[0], 4096):
        rows = tensor[start : start + 4096]
        rows[...] = generator.standard_normal(rows.shape, np.float32) * np.float32(0.02)
    return tensor


def main(_: list[str]) -> None:
    write_random(Path(FLAGS.dst), FLAGS.shape)


FLAGS = flags.FLAGS

if __name__ == "__main__":
    flags.DEFINE_enum("shape", "llama3-8b", list(SHAPES), "Which model's shape.")
    flags.DEFINE_string("dst", None, "The folder to write.", required=True)
    app.run(main)
