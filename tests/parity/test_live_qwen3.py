"""A tiny random Qwen3 with the real tokenizer and template of Qwen3: three turns, everywhere."""

import io
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.chats import trained
from tests.parity.artefacts import artefacts
from tests.parity.conversations import CONVERSATIONS
from tests.parity.live import torch_logits
from tests.parity.random_models import CASES, tensors
from tests.scripts import ran
from tests.serve.servers import Server
from vcjax.core.defaults import training_config
from vcjax.core.files import read_json, write_json, write_jsonl
from vcjax.data.prepared import open_prepared
from vcjax.generate import text as engine_text
from vcjax.generate.likelihood import score_answers
from vcjax.model.build import abstract
from vcjax.text.rendering import Rendered
from vcjax.text.tokenizer import load_tokenizer
from vcjax.train.config import TrainConfig
from vcjax.train.loop import train
from vcjax.weights.load import load_model

THREE_TURNS = CONVERSATIONS["plain"]


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory) -> Path:
    """Two layers of 32, 152,000 tokens; it says nonsense and hardly ever ends."""
    raw = {
        **CASES["qwen3"],
        "vocab_size": 151_936,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "head_dim": 16,
        "tie_word_embeddings": True,
        "max_position_embeddings": 512,
        "torch_dtype": "float32",
        "bos_token_id": 151_643,
        "eos_token_id": 151_645,
    }
    folder = tmp_path_factory.mktemp("qwen3")
    write_json(folder / "config.json", raw)
    write_json(folder / "generation_config.json", {"eos_token_id": [151_645, 151_643]})
    save_file(tensors(raw), folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(artefacts() / "qwen3" / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def tokenizer(qwen3):
    return load_tokenizer(qwen3)


def theirs(tokenizer, messages) -> list[int]:
    return tokenizer.backend.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )


def test_chat_holds_three_turns(qwen3, tokenizer, tmp_path, monkeypatch):
    asked: dict[int, tuple] = {}
    render = engine_text.render_prompt

    def recorded(tokenizer, messages):
        ids = render(tokenizer, messages)
        asked[len(messages)] = (list(messages), ids)
        return ids

    monkeypatch.setattr(engine_text, "render_prompt", recorded)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Why?\n为什么？\nAnd now?\n"))
    code, out, _ = ran("chat", [f"--model={qwen3}", "--max_tokens=8"], tmp_path)
    assert code == 0
    assert sorted(asked) == [1, 3, 5]
    for messages, ids in asked.values():
        assert list(ids) == theirs(tokenizer, messages)
    answers = [message["content"] for message in asked[5][0] if message["role"] == "assistant"]
    assert out.startswith("\n".join(answers) + "\n")


def test_serve_holds_three_turns(qwen3, tokenizer, tmp_path):
    server = Server.start(qwen3, tmp_path, ["--slots=1"])
    try:
        client, messages = server.wait_ready().client(), []
        for question in ("Why?", "为什么？", "And now?"):
            messages.append({"role": "user", "content": question})
            reply = client.chat.completions.create(model="tiny", messages=messages, max_tokens=8)
            assert reply.usage is not None
            assert reply.usage.prompt_tokens == len(theirs(tokenizer, messages))
            messages.append({"role": "assistant", "content": reply.choices[0].message.content})
    finally:
        assert server.stop() == 0


def _config(qwen3: Path, stage: str, **fields):
    config = training_config(stage)
    config.update(
        {"model": str(qwen3), "steps": 1, "batch_size": 2, "length": 64, "warmup_steps": 0}
    )
    config.update({"checkpoint_every": 1, "lora": {"rank": 2}, **fields})
    return TrainConfig.from_dict(config)


def test_a_step_of_sft_on_three_turns(qwen3, tokenizer, tmp_path):
    write_jsonl(tmp_path / "data.jsonl", [{"messages": THREE_TURNS}])
    config = _config(qwen3, "sft", conversations=str(tmp_path / "data.jsonl"))
    assert math.isfinite(train(config, tmp_path / "run")["last_loss"])
    summary = read_json(tmp_path / "run" / "data" / "conversations" / "summary.json")
    assert (summary["examples"], summary["by_turn"], summary["dropped"]) == (3, 1, 0)
    rows = open_prepared(tmp_path / "run" / "data" / "conversations")
    said = "".join(
        trained(tokenizer, Rendered(tuple(row["tokens"].tolist()), tuple(row["loss_mask"])))
        for row in rows
    )
    for message in THREE_TURNS[1::2]:
        assert said.count(f"</think>\n\n{message['content']}<|im_end|>") == 1


def test_a_step_of_dpo_on_three_turns(qwen3, tokenizer, tmp_path):
    pair = {"messages": THREE_TURNS[:-1], "chosen": "再见。", "rejected": "No."}
    write_jsonl(tmp_path / "data.jsonl", [pair, {**pair, "chosen": "Bye!"}])
    config = _config(
        qwen3, "adversarial", objective="dpo", preferences=str(tmp_path / "data.jsonl")
    )
    assert math.isfinite(train(config, tmp_path / "run")["last_loss"])
    row = open_prepared(tmp_path / "run" / "data" / "preferences")[0]
    for tokens, mask, said in zip(row["tokens"], row["loss_mask"], ("再见。", "No."), strict=True):
        asked = theirs(tokenizer, pair["messages"])
        assert tokens[: len(asked)].tolist() == asked
        predicted = tokenizer.decode(tokens[np.asarray(mask)].tolist(), skip_special=False)
        assert predicted == f"<think>\n\n</think>\n\n{said}<|im_end|>"


def test_answers_to_a_conversation_score_as_in_transformers(qwen3, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(qwen3, attn_implementation="eager").eval()
    theirs, loaded = AutoTokenizer.from_pretrained(qwen3), load_model(str(qwen3), "float32")
    answers = ["So.", "公平。", "<think>\n\n</think>\n\nIt is so."]
    questions = [THREE_TURNS[:3], THREE_TURNS[:1]]
    ours = score_answers(
        abstract(loaded.config)[0], loaded.params, tokenizer, questions, [answers] * 2
    )
    for question, totals in zip(questions, ours, strict=True):
        prompt = theirs.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
        for answer, total in zip(answers, totals, strict=True):
            # `<think>` is a token that isn't special: Qwen3 writes it.
            ids = theirs(answer, add_special_tokens=False).input_ids
            logits = torch.from_numpy(torch_logits(model, np.asarray([[*prompt, *ids]])))[0]
            logprobs = torch.log_softmax(logits.double(), -1)[len(prompt) - 1 : -1]
            expected = logprobs.gather(-1, torch.tensor(ids)[:, None]).sum().item()
            assert total == pytest.approx(expected, abs=1e-3), answer
