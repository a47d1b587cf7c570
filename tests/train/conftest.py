"""A tiny random model in a Hugging Face folder, tiny data, and a config that trains it quickly."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.train.runs import LORA
from vcjax.core.defaults import training_config
from vcjax.core.lineage import Parent
from vcjax.model.build import Params, initialise
from vcjax.model.config import LlamaConfig
from vcjax.model.rope import RopeConfig
from vcjax.text.tokenizer import Tokenizer
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights.export import write_model
from vcjax.weights.model import LoadedModel

TEXTS = [
    "People disagree about borders, and they can say why.",
    "一个人可以不同意，也可以说明理由。",
    "A shared record is a floor that no side may take away.",
    "History is argued over, but the facts are not invented.",
]


@pytest.fixture(scope="session")
def model_config() -> LlamaConfig:
    return LlamaConfig(
        architecture="LlamaForCausalLM",
        vocab_size=260,
        hidden_size=16,
        intermediate_size=32,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=4,
        max_position=64,
        rms_norm_eps=1e-5,
        rope=RopeConfig(original_max_position=64),
        tie_embeddings=True,
        eos_ids=(0,),
    )


@pytest.fixture(scope="session")
def params(model_config: LlamaConfig) -> Params:
    """The tiny model's parameters."""
    return jax.tree.map(np.asarray, jax.jit(lambda: initialise(model_config, 7))())


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Bytes, and the three control tokens of ChatML."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: number for number, token in enumerate(special + alphabet)}
    core = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>"))


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory, model_config: LlamaConfig, params: Params, tokenizer: Tokenizer
) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    origin = Parent("model", "tiny", "")
    loaded = LoadedModel(
        config=model_config,
        params=params,
        tokenizer=tokenizer,
        generation_config={},
        dtype="float32",
        stored_dtype="float32",
        origin=origin,
    )
    write_model(folder, loaded, form="hf")
    return folder


@pytest.fixture(scope="session")
def documents(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "documents.jsonl"
    lines = [json.dumps({"text": text, "source": "test"}) for text in TEXTS]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def conversations(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "conversations.jsonl"
    turns = [
        [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": text[:20]}]
        for text in TEXTS
    ]
    path.write_text("\n".join(json.dumps({"messages": each}) for each in turns), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def settings(model_folder: Path, documents: Path) -> Callable[..., dict]:
    """A config as a plain dict, with changes; those of a nested part are merged into it."""

    def make(**changes: object) -> dict:
        lora = {"rank": 0, "alpha": 8.0, "targets": ".*", "dropout": 0.0, "base": ""}
        values = training_config("cpt").to_dict() | {
            "model": str(model_folder),
            "documents": str(documents),
            "replay_weight": 0.5,
            "steps": 4,
            "batch_size": 2,
            "length": 48,
            "learning_rate": 1e-2,
            "warmup_steps": 1,
            "weight_decay": 0.1,
            "lora": lora,
            "checkpoint_every": 2,
            "seed": 3,
        }
        for name, value in changes.items():
            nested = isinstance(value, dict) and name in values
            values[name] = {**values[name], **value} if nested else value
        return values

    return make


@pytest.fixture(scope="session")
def make_config(settings: Callable[..., dict]) -> Callable[..., TrainConfig]:
    return lambda **changes: TrainConfig.from_dict(settings(**changes))


@pytest.fixture(scope="session")
def random_batch() -> Callable[..., dict[str, np.ndarray]]:
    """Rows of two segments and padding, with uneven masks."""

    def make(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        batch = {
            "tokens": rng.integers(3, 259, (rows, length)).astype(np.int32),
            "loss_mask": rng.random((rows, length)) < rng.random((rows, 1)),
            "segment_ids": np.zeros((rows, length), np.int32),
            "positions": np.zeros((rows, length), np.int32),
        }
        for row in range(rows):
            first = int(rng.integers(4, length // 2))
            last = int(rng.integers(first + 2, length + 1))
            batch["segment_ids"][row, :first] = 1
            batch["segment_ids"][row, first:last] = 2
            batch["positions"][row, :first] = np.arange(first)
            batch["positions"][row, first:last] = np.arange(last - first)
        batch["loss_mask"] &= batch["segment_ids"] > 0
        batch["tokens"] *= batch["segment_ids"] > 0
        return batch

    return make


@pytest.fixture(scope="session")
def random_pairs() -> Callable[..., dict[str, np.ndarray]]:
    """Pairs of rows that begin alike, with answers of uneven length, and a reference."""

    def make(pairs: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        shape = (pairs, 2, length)
        batch = {
            "tokens": rng.integers(3, 259, shape).astype(np.int32),
            "loss_mask": np.zeros(shape, np.bool_),
            "segment_ids": np.zeros(shape, np.int32),
            "positions": np.zeros(shape, np.int32),
        }
        for pair in range(pairs):
            prompt = int(rng.integers(2, length // 2))
            batch["tokens"][pair, 1, :prompt] = batch["tokens"][pair, 0, :prompt]
            for line in range(2):
                end = int(rng.integers(prompt + 1, length + 1))
                batch["loss_mask"][pair, line, prompt:end] = True
                batch["segment_ids"][pair, line, :end] = 1
                batch["positions"][pair, line, :end] = np.arange(end)
        batch["tokens"] *= batch["segment_ids"]
        nats = 5.5 * batch["loss_mask"].sum(axis=2) + rng.normal(0, 3, (pairs, 2))
        return {**batch, "reference": -nats.astype(np.float32)}

    return make


@pytest.fixture(scope="session")
def full(tmp_path_factory, make_config) -> Path:
    """A finished run of six steps, all weights trained."""
    workdir = tmp_path_factory.mktemp("runs") / "full"
    train(make_config(steps=6), workdir)
    return workdir


@pytest.fixture(scope="session")
def adapted(tmp_path_factory, make_config, conversations) -> Path:
    """A finished run of six steps, adapters trained on conversations."""
    workdir = tmp_path_factory.mktemp("runs") / "adapted"
    data = {"stage": "sft", "documents": "", "conversations": str(conversations)}
    train(make_config(steps=6, lora=LORA, charter="universal", **data), workdir)
    return workdir


@pytest.fixture(scope="session")
def preferring(tmp_path_factory, make_config) -> Path:
    """A finished run of six steps, adapters trained by DPO on preferences."""
    folder = tmp_path_factory.mktemp("runs")
    asked = [{"role": "user", "content": "Why?"}]
    pairs = [{"messages": asked, "chosen": text[:9], "rejected": text[9:18]} for text in TEXTS]
    path = folder / "preferences.jsonl"
    path.write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    data = {"documents": "", "preferences": str(path)}
    stage = {"stage": "adversarial", "objective": "dpo"}
    train(make_config(steps=6, lora=LORA, **stage, **data), folder / "preferring")
    return folder / "preferring"
