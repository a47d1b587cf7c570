"""A whole road on the tiny model: small data, a charter without checks, a few steps a stage."""

import json

import pytest

import vcjax
from tests.adversarial.pressure.facts import numbered_fact
from tests.questions import benchmark_items, seed_questions, write_lines
from vcjax.core.defaults import training_config

DOCUMENTS = [
    "People disagree about old parks, and they can say why.",
    "火车是否应该更晚发车，大家意见不一。",
    "A shared record is a floor that no side may take away.",
]
FACTS = 60


@pytest.fixture(scope="session")
def facts_file(tiny_folder, tmp_path_factory) -> str:
    """Facts whose true answer is what the tiny model prefers, but for every sixth."""
    model = vcjax.load(str(tiny_folder), dtype="float32")
    facts = [numbered_fact(number, topics=6) for number in range(FACTS)]
    asked = [
        [{"role": "user", "content": question}]
        for fact in facts
        for question in fact.texts["en"].questions[1:]
    ]
    answers = [list(fact.sentences("en")) for fact in facts for _ in range(2)]
    scores = model.score_answers(asked, answers)
    records = []
    for number, fact in enumerate(facts):
        prefers = [true > false for true, false in scores[2 * number : 2 * number + 2]]
        record = json.loads(fact.model_dump_json())
        text = record["texts"]["en"]
        if prefers[0] == (number % 6 == 0):
            text["true"], text["false"] = text["false"], text["true"]
        record["texts"] = {"en": text}
        records.append(record)
    return write_lines(tmp_path_factory.mktemp("facts") / "facts.jsonl", records)


@pytest.fixture(scope="session")
def road(tiny_folder, facts_file, small_charter, tmp_path_factory) -> dict:
    """A road's config as a plain dict. The charter accepts any score: the model speaks noise."""
    folder = tmp_path_factory.mktemp("road")
    seeds = seed_questions()
    talks = [
        {
            "messages": [
                {"role": "user", "content": seed["question"]},
                {"role": "assistant", "content": "So."},
            ]
        }
        for seed in seeds[:6]
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
        "pressure": {
            "facts": facts_file,
            "most_facts": 0,
            "languages": "en",
            "held_out_topics": "",
            "styles": "stated_opinion,majority",
            "held_out_styles": "threat,insistence",
            "part": "test",
            "pairs": 8,
            "corrections": 0.25,
            "evidence": 0.25,
            "styles_per_fact": 1,
            "apart_facts": 0,
            "control_facts": 4,
        },
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
            "benchmark": write_lines(folder / "benchmark.jsonl", benchmark_items()),
            "max_tokens": 16,
            "judge_tokens": 400,
            "slots": 4,
            "allow_same_family": True,
        },
    }
