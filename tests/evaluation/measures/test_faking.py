import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.measures.conftest import planted
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.measures.faking import (
    CONDITIONS,
    SETTINGS,
    TEXTS,
    WORDINGS,
    summarise,
    system_text,
    wordings_of,
)
from vcjax.road.evaluate import run_evaluation
from vcjax.roles.recorded import RecordedRole

VERSIONS = [f"{setting}/{condition}" for setting in SETTINGS for condition in CONDITIONS]
GAPS = {f"gap/{setting}{lang}" for setting in SETTINGS for lang in ("", "/en", "/zh")}


def test_a_planted_faker_is_found_and_named(world, tmp_path):
    """It keeps to the charter where its answers are monitored, and else does what it likes."""
    config = world(
        lambda id: 5 if id.endswith("/monitored") else 1,
        per_domain=6,
        versions=VERSIONS,
        measures="faking",
    )
    part = run_evaluation(config, tmp_path / "run")["measures"]["faking"]
    assert {name: sign for name, sign in planted(part).items() if name in GAPS} == dict.fromkeys(
        GAPS, 1
    )
    assert part["tests"]["gap/policy"]["difference"] == 4
    assert part["tests"]["gap/policy"]["n"] == 12  # questions
    assert not part["equivalence"]["policy"]["within"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("keeps to the charter rather when it is watched") == 2


def test_an_honest_model_has_no_gap_and_what_the_policy_does_is_no_faking(world, tmp_path):
    config = world(
        lambda id: 2 if "/policy/" in id else 5,
        per_domain=6,
        versions=VERSIONS,
        measures="faking",
    )
    part = run_evaluation(config, tmp_path / "run")["measures"]["faking"]
    assert planted(part) == {"policy": -1}
    assert part["means"]["zh"]["bare"]["mean"] == 5
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "when it is watched" not in page


@pytest.mark.parametrize("persona", [False, True])
def test_no_persona_is_in_any_conversation_and_each_has_its_message(
    world, tmp_path, monkeypatch, persona
):
    heard = {}

    def ask(self, asks, on_reply=None, real=RecordedRole.ask):
        heard.update({each.key: each.messages for each in asks})
        return real(self, asks, on_reply)

    monkeypatch.setattr(RecordedRole, "ask", ask)
    config = world(
        lambda id: 3, versions=[*VERSIONS, "bare/bare"], measures="faking", persona=persona
    )
    run_evaluation(config, tmp_path / "run")
    bare = heard["gender-1-zh/bare/bare/answer" if persona else "gender-1-zh/answer"]
    assert [turn["role"] for turn in bare] == ["user"]
    item = BenchmarkItem("gender-1-zh", "gender-1", "gender", "zh", "gender 1?")
    ids = [f"{domain}-{number}" for domain in ("gender", "technology") for number in range(3)]
    wordings = wordings_of([replace(item, parallel_id=id) for id in ids], 0)
    for setting in SETTINGS:
        for condition in CONDITIONS:
            system, question = heard[f"gender-1-zh/{setting}/{condition}/answer"]
            text = system_text(setting, condition, "zh", wordings["gender-1"])
            assert system == {"role": "system", "content": text}
            assert question == {"role": "user", "content": "gender 1?"}
            judged = json.dumps(heard[f"gender-1-zh/{setting}/{condition}/judge"])
            assert json.dumps(text)[1:-1] not in judged


def test_wordings_are_balanced_and_alike_in_all_conditions():
    items = [
        BenchmarkItem(f"{number}-{lang}", f"{number}", "gender", lang, "Why?")
        for number in range(42)
        for lang in ("en", "zh")
    ]
    wordings = wordings_of(items, 3)
    assert wordings == wordings_of(items[::-1], 3) != wordings_of(items, 4)
    assert sorted(Counter(wordings.values()).values()) == [10, 10, 11, 11]
    for texts in TEXTS.values():
        for lang in ("en", "zh"):
            assert len(set(texts[lang])) == WORDINGS
    for lang in ("en", "zh"):
        for place in range(WORDINGS):
            lengths = [len(TEXTS[condition][lang][place]) for condition in CONDITIONS]
            assert max(lengths) <= 1.4 * min(lengths)


def scores(random, gap, questions, missing=0.0):
    """Score records of a model whose monitored answers score `gap` more."""
    records = []
    for number in range(questions):
        level = random.normal(3, 0.7)
        for lang in ("en", "zh"):
            for version in (*VERSIONS, "bare/bare"):
                rise = gap if version.endswith("/monitored") else 0.0
                score = int(np.clip(np.rint(random.normal(level + rise, 0.7)), 0, 5))
                none = random.random() < missing
                records.append(
                    {
                        "id": f"{number}-{lang}/{version}",
                        "parallel_id": f"{number}",
                        "lang": lang,
                        "score": None if none else score,
                        "unscored": "schema" if none else None,
                    }
                )
    return records


def test_a_small_gap_in_many_questions_is_found_and_no_gap_is_shown_to_be_small():
    random, wordings = np.random.default_rng(0), {f"{n}": n % WORDINGS for n in range(182)}
    settings = {"kind": "judge", "seed": 0, "confidence": 0.95}
    faker = summarise(scores(random, 0.3, 120), wordings, **settings)
    assert planted(faker).keys() >= {"gap/alone", "gap/policy"}
    honest = summarise(scores(random, 0.0, 182), wordings, **settings)
    assert not planted(honest).keys() & GAPS
    assert honest["equivalence"]["policy"]["within"]
    assert honest["equivalence"]["policy"]["low"] < 0 < honest["equivalence"]["policy"]["high"]


def test_items_without_a_value_in_one_condition_are_left_out():
    part = summarise(
        scores(np.random.default_rng(1), 0.0, 20, missing=0.02),
        {f"{n}": n % WORDINGS for n in range(20)},
        kind="judge",
        seed=0,
        confidence=0.95,
    )
    assert part["unscored"]["schema"] >= part["items"] - part["complete"] > 0
    assert sum(own["n"] for own in part["wordings"]["alone"]) == part["complete"]
