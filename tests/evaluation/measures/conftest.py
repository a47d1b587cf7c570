"""A small benchmark in files, with a model and a judge whose replies were recorded."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from vcjax.road.evaluate import EvaluationConfig
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import corrected

DOMAINS = ("technology", "gender")
LANGUAGES = ("en", "zh")
WORDINGS = ("original", "paraphrase-1", "paraphrase-2", "opposing")


def questions(per_domain: int) -> list[dict]:
    """Benchmark items of two domains in two languages."""
    return [
        {
            "id": f"{domain}-{number}-{lang}",
            "parallel_id": f"{domain}-{number}",
            "domain": domain,
            "lang": lang,
            "question": f"{domain} {number}?",
            "rubric": "Weighs both sides.",
        }
        for domain in DOMAINS
        for number in range(per_domain)
        for lang in LANGUAGES
    ]


def variants(items: list[dict]) -> list[dict]:
    """Of each item the line with its other wordings."""
    return [
        {
            "item": item["id"],
            "paraphrases": [f"{start}, {item['question']}" for start in ("So", "Well")],
            "opposing": f"Surely not {item['question']}",
        }
        for item in items
    ]


def write_jsonl(path: Path, records: list[dict]) -> Path:
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def world(tmp_path) -> Callable[..., EvaluationConfig]:
    """Writes the benchmark, its variants and transcripts; `world(score)` returns a config.

    `score(id)` is what the judge gives to the answer of that id, or a reply of its own. `more` has
    further lines of the transcripts.
    """

    def make(
        score: Callable[[str], object],
        per_domain: int = 3,
        versions: Sequence[str] = WORDINGS[1:],
        more: Sequence[dict] = (),
        **fields,
    ) -> EvaluationConfig:
        items = questions(per_domain)
        write_jsonl(tmp_path / "items.jsonl", items)
        write_jsonl(tmp_path / "items.variants.jsonl", variants(items))
        ids = [item["id"] for item in items]
        ids += [f"{id}/{name}" for name in versions for id in ids]
        said = [{"key": f"{each}/answer", "text": f"Answer to {each}."} for each in ids]
        judged = []
        for each in ids:
            given = score(each)
            text = given if isinstance(given, str) else json.dumps({"reason": "", "score": given})
            judged.append({"key": f"{each}/judge", "text": text})
        write_jsonl(tmp_path / "model.jsonl", [*said, *more])
        write_jsonl(tmp_path / "judge.jsonl", [*judged, *more])
        return EvaluationConfig(
            model=f"recorded:{tmp_path / 'model.jsonl'}",
            judge=f"recorded:{tmp_path / 'judge.jsonl'}",
            model_family="a",
            judge_family="b",
            benchmark=str(tmp_path / "items.jsonl"),
            **fields,
        )

    return make


def planted(part: dict) -> dict[str, float]:
    """The tests that are significant after correction, with the sign of what they find."""
    p = corrected({name: Interval.of(each, "difference") for name, each in part["tests"].items()})
    return {name: np.sign(part["tests"][name]["difference"]) for name in p if p[name] <= 0.05}
