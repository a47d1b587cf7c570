"""Workdirs of finished evaluations, without a model: recorded scores of a benchmark of our own."""

import json
import random

import pytest

from vcjax.core.files import write_json, write_jsonl
from vcjax.core.lineage import write_lineage
from vcjax.evaluation.summary import summarise

DOMAINS = [f"domain_{number:02}" for number in range(8)]


def questions(per_domain=3, langs=("en", "zh")):
    return [
        {"id": f"{domain}-{n}-{lang}", "parallel_id": f"{domain}-{n}", "domain": domain}
        | {"lang": lang, "question": f"{domain} {n} {lang}?"}
        for domain in DOMAINS
        for n in range(per_domain)
        for lang in langs
    ]


@pytest.fixture
def workdir(tmp_path):
    """Writes a finished evaluation: `workdir(name, score, items=..., **changes)`.

    `score` maps an item to its score; None judges nothing. `changes` are merged into every answer
    and score record; `options` has the records of items by measure.
    """

    def make(
        name,
        score,
        items=None,
        seed=0,
        judge="judge",
        charter="c" * 64,
        passes=0.7,
        edit=None,
        options=None,
    ):
        folder, draw = tmp_path / name, random.Random(seed)
        answers, scores = [], []
        for item in items or questions():
            known = {**item, "fingerprint": "f", "answer_hash": f"{name}-{item['id']}"}
            answers.append(
                {**known, "answer": "An answer.", "model": name, "model_hash": name}
                | {"finish_reason": "stop"}
            )
            value = None if judge is None else score(item)
            unscored = "no_judge" if judge is None else None if value is not None else "malformed"
            scores.append(
                {**known, "judge": judge, "family": "f", "score": value, "unscored": unscored}
                | {"reason": "", "reply": "", "checks": {"p/c": draw.random() < passes}}
            )
        summary = {
            "same_family": False,
            "charter": {"name": "universal", "hash": charter},
            "model": {"name": name, "family": "a"},
            "judge": judge and {"name": judge, "family": "f"},
            "benchmark": {"name": "b", "hash": "b" * 64, "items": len(answers), "held_out": []},
            "seed": 0,
            "confidence": 0.95,
            **summarise(answers, scores),
            "measures": {measure: {} for measure in options or {}},
        }
        if edit is not None:
            answers, scores = edit(answers, scores)
        folder.mkdir()
        write_jsonl(folder / "answers.jsonl", answers)
        write_jsonl(folder / "scores.jsonl", scores)
        for measure, records in (options or {}).items():
            write_jsonl(folder / measure / "items.jsonl", records)
        write_json(folder / "summary.json", json.loads(json.dumps(summary)))
        write_lineage(folder, kind="evaluate", parents=[], config={})
        return folder

    return make
