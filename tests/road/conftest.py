"""A whole road on the tiny model: small data, a charter without checks, a few steps a stage."""

import json
from pathlib import Path

import pytest

from vcjax.core.defaults import training_config

DOCUMENTS = [
    "People disagree about old parks, and they can say why.",
    "火车是否应该更晚发车，大家意见不一。",
    "A shared record is a floor that no side may take away.",
]
QUESTIONS = {"en": "Is the old {} number {} worth it?", "zh": "第{1}个老{0}值得保留吗？"}


def write_lines(path: Path, records: list[dict]) -> str:
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def road(tiny_folder, small_charter, tmp_path_factory) -> dict:
    """A road's config as a plain dict. The charter accepts any score: the model speaks noise."""
    folder = tmp_path_factory.mktemp("road")
    asked = [
        (lang, domain, n, text.format(domain, n))
        for domain in ("parks", "trains", "music")
        for n in range(3)
        for lang, text in QUESTIONS.items()
    ]
    seeds = [
        {"id": f"{domain}{n}{lang}", "question": text, "lang": lang, "domain": domain}
        for lang, domain, n, text in asked
        if domain != "music"
    ]
    items = [
        {
            "id": f"{domain}{lang}",
            "parallel_id": domain,
            "domain": domain,
            "lang": lang,
            "question": f"{text} {text}",
        }
        for lang, domain, n, text in asked
        if n == 0
    ]
    talks = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "So."}]}
        for _, _, _, text in asked[:6]
    ]
    stage = {
        **training_config("cpt").to_dict(),
        "steps": 3,
        "batch_size": 2,
        "length": 64,
        "learning_rate": 1e-3,
        "warmup_steps": 1,
        "lora": {"rank": 2, "alpha": 4.0, "targets": ".*", "dropout": 0.0, "base": ""},
        "checkpoint_every": 2,
        "keep": 1,
    }
    filled = ("model", "charter", "seed", "on_bad_record", "replay", "columns")
    for field in (*filled, "documents", "conversations", "preferences"):
        del stage[field]
    texts = [{"text": text, "source": "test"} for text in DOCUMENTS]
    return {
        "model": str(tiny_folder),
        "family": "tiny",
        "charter": str(small_charter(folder / "charter.yaml")),
        "documents": write_lines(folder / "documents.jsonl", texts),
        "conversations": write_lines(folder / "conversations.jsonl", talks),
        "questions": write_lines(folder / "questions.jsonl", seeds),
        "seed": 3,
        "on_bad_record": "error",
        "cpt": {**stage, "stage": "cpt"},
        "sft": {**stage, "stage": "sft"},
        "adversarial": {**stage, "stage": "adversarial"},
        "synthesis": {
            "benchmark": "",
            "attempts": 6,
            "attacks": "dilemma",
            "critic_form": "simple",
            "slots": 4,
            "attacker_tokens": 16,
            "actor_tokens": 48,
            "critic_tokens": 400,
            "actor_temperature": 1.0,
            "allow_same_family": True,
        },
        "evaluation": {
            "benchmark": write_lines(folder / "benchmark.jsonl", items),
            "max_tokens": 16,
            "judge_tokens": 400,
            "slots": 4,
            "allow_same_family": True,
        },
    }
