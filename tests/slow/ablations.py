"""An ablation on the tiny model, whose attacks and answers are in a transcript: fixtures."""

import random
from pathlib import Path

import pytest

from tests.questions import write_lines, written
from vcjax.core.defaults import training_config
from vcjax.core.files import read_json, read_jsonl
from vcjax.road.ablation.config import AblationConfig
from vcjax.road.ablation.run import ablate

CHECKS = "{name: sane_length, args: {words: [0, 14], characters: [0, 400]}}"
ATTACKS, HELD_OUT = ("dilemma", "false_premise"), ("stated_opinion", "loaded_comparison")
TALKS = 12
NOUNS = ("garden", "river", "market", "school", "tower", "castle", "bridge", "village", "harbour")
VERBS = ("protect", "paint", "sell", "close", "rebuild", "visit", "share", "measure", "defend")
ENDS = (
    "before the long winter comes",
    "when nobody has any money left",
    "because my uncle said so",
    "after all that has happened",
    "while the others only watch",
    "without asking the people there",
)
"""Made into questions that aren't like each other."""


def questions(seed):
    draw = random.Random(seed)
    while True:
        words = draw.sample(NOUNS, 3), draw.sample(VERBS, 2)
        yield (
            f"Why should the {words[0][0]} {words[1][0]} the {words[0][1]} and {words[1][1]} the "
            f"{words[0][2]} {draw.choice(ENDS)}?"
        )


@pytest.fixture(scope="module")
def values(tiny_folder, small_charter, tmp_path_factory) -> dict:
    """An ablation's config as a plain dict. A transcript attacks and answers: the tiny model can't
    write questions, nor anything to learn from."""
    folder = tmp_path_factory.mktemp("ablation")
    asked = questions(0)
    replies = []
    for subdomain in ("parks", "trains", "music"):
        for attack in (*ATTACKS, *HELD_OUT):
            for n in range(6):
                key = f"{subdomain}.{attack}.en.s2.t1.{n}"
                replies.append({"key": f"{key}/attacker", "text": written(next(asked))})
                # In the second round the first try is what the first round has asked.
                replies.append({"key": f"{key}/attacker/1", "text": written(next(asked))})
                replies.append({"key": f"{key}/attacker/measured", "text": written(next(asked))})
                good = f"The {NOUNS[n]} belongs to all of us, and {n} neighbours agree on it."
                long = f"{good} But there are others who see it in another way, and they say why."
                replies.append({"key": f"{key}/actor/0", "text": long})
                replies.append({"key": f"{key}/actor/1", "text": good})
    for subdomain in ("parks", "trains", "music"):
        for n in range(16):
            key = f"{subdomain}.plain_question.en.s2.t1.{n}"
            for stage in ("attacker", "attacker/1", "attacker/measured"):
                replies.append({"key": f"{key}/{stage}", "text": written(next(asked))})
            good = f"The {NOUNS[n % 9]} is open to all of us, says neighbour {n}."
            long = f"{good} But there are others who see it in another way, and they say why."
            replies.append({"key": f"{key}/actor/0", "text": long})
            # One in two answers is good: as many pairs take twice the attempts.
            replies.append({"key": f"{key}/actor/1", "text": good if n % 2 else long})
    talks = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n}?"},
                {
                    "role": "assistant",
                    "content": f"It is the number {n}, and it comes before {n + 1}.",
                },
            ],
            "lang": "en",
        }
        for n in range(TALKS)
    ]
    documents = [
        {"text": f"A page about the {noun}, which is old.", "source": "test"} for noun in NOUNS[:4]
    ]
    train = training_config("adversarial").to_dict() | {
        "steps": 8,
        "batch_size": 2,
        "length": 256,
        "learning_rate": 1e-2,
        "warmup_steps": 1,
        "lora": {"rank": 0, "alpha": 4.0, "targets": ".*", "dropout": 0.0, "base": ""},
        "checkpoint_every": 4,
        "keep": 1,
    }
    for field in ("model", "charter", "seed", "on_bad_record", "replay"):
        del train[field]
    for field in ("documents", "conversations", "preferences"):
        del train[field]
    transcript = f"recorded:{write_lines(folder / 'said.jsonl', replies)}"
    return {
        "model": str(tiny_folder),
        "family": "tiny",
        "attacker": transcript,
        "attacker_family": "people",
        "actor": transcript,
        "actor_family": "people",
        "charter": str(small_charter(folder / "charter.yaml", checks=CHECKS)),
        "language": "en",
        "attacks": ",".join(ATTACKS),
        "held_out_attacks": ",".join(HELD_OUT),
        "held_out_queries": 3,
        "trained_queries": 1,
        "clean_queries": 4,
        "questions": "",
        "conversations": write_lines(folder / "talks.jsonl", talks),
        "documents": write_lines(folder / "documents.jsonl", documents),
        "document_tokens": 16,
        "answer_tokens": 24,
        "samples": 3,
        "rounds": 2,
        "seeds": 2,
        "seed": 3,
        "slots": 4,
        "on_bad_record": "error",
        "synthesis": {
            "critic": "",
            "attacker_tries": 2,
            "attempts": 8,
            "answers": 2,
            "wave": 4,
            "attacker_tokens": 16,
            "actor_tokens": 24,
        },
        "train": train,
        "arms": {
            "base": {"data": "none"},
            "adversarial": {"data": "attacks"},
            "ordinary": {"data": "conversations", "like": "adversarial", "rounds": 1},
            "persona": {"data": "none", "persona": True},
            "selected_plain": {"data": "questions", "like": "adversarial", "rounds": 1},
            "unselected": {"data": "answers", "like": "adversarial", "rounds": 1},
        },
    }


def changes(workdir: Path) -> dict[Path, int]:
    """When each file was last written; readers touch what SQLite keeps beside a ledger."""
    files = (path for path in workdir.glob("*/*/*/*") if not path.name.endswith(("-shm", "-wal")))
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def grown(values, tmp_path_factory):
    """A finished ablation and what one with fewer seeds and arms had left in its folder before."""
    workdir = tmp_path_factory.mktemp("grown") / "run"
    arms = {name: values["arms"][name] for name in ("base", "adversarial")}
    fewer = AblationConfig.from_dict({**values, "seeds": 1, "arms": arms})
    ablate(fewer, workdir)
    before = changes(workdir)
    assert ablate(fewer, workdir) == read_json(workdir / "summary.json")
    assert changes(workdir) == before
    return workdir, ablate(AblationConfig.from_dict(values), workdir), before


@pytest.fixture(scope="module")
def done(grown):
    return grown[:2]


def lines(path: Path) -> list[dict]:
    return [line for _, line in read_jsonl(path)]
