"""The ablation by stage: its config, what it measures on, and what counts.

Whole runs are in `tests/slow/test_stages.py`.
"""

import pytest

from tests.questions import write_lines
from tests.road.stages import CHECKS, stages_config, stages_values
from vcjax.core.errors import UserError
from vcjax.report.stages.verdict import stages_lines
from vcjax.road.stages.steps import corrected_together, rules_kept
from vcjax.road.stages.text import read_text


@pytest.fixture(scope="module")
def values(road, small_charter, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("stages")
    return stages_values(road, small_charter(folder / "charter.yaml", checks=CHECKS), folder)


def test_text_that_is_measured_is_in_no_training_text(values, tmp_path):
    measured = "People disagree about old parks, and they can say why."
    text = [{"text": measured, "source": "t"}, {"text": f"So it is. {measured}", "source": "t"}]
    text += [{"text": f"Page {n} is about something else entirely.", "source": "t"} for n in "abc"]
    path = write_lines(tmp_path / "text.jsonl", text)
    trained, held_out = read_text(stages_config(values, documents=path))
    assert len(trained) == 3
    assert len(held_out) == 3
    # Without text of its own, whole domains are held out.
    text = [
        {"text": f"Text {n} of {domain}: {domain} {n}.", "source": "t", "domain": domain}
        for domain in ("parks", "trains", "music")
        for n in range(4)
    ]
    path = write_lines(tmp_path / "domains.jsonl", text)
    trained, held_out = read_text(
        stages_config(values, documents=path, measured_documents="", held_out_share=0.5)
    )
    assert {each.domain for each in trained} & {each.domain for each in held_out} == set()
    assert (len(trained), len(held_out)) == (4, 8)


def test_a_rule_that_does_not_apply_or_only_measures_is_not_counted():
    scores = [
        {"id": "a", "checks": {"x/one": True, "y/two": False, "z/other": True}},
        {"id": "b", "checks": {"x/one": True}},
        {"id": "c", "checks": None},
    ]
    assert rules_kept(scores, ["x/one", "y/two"]) == {"a": 0.5, "b": 1.0}


def change(value: float, n: int = 26) -> dict:
    p = 0.0001 if value else 1.0
    return {"difference": value, "low": value - 0.01, "high": value + 0.01, "n": n, "p": p}


def test_what_a_stage_changed_is_stated_with_what_it_cost():
    steps = []
    for after, before, gain, cost in (("cpt", "base", 0.0, 0.0), ("sft", "cpt", 0.3, 0.2)):
        rates = ("flips", "contrarian", "corrections", "evidence", "forgotten")
        record = {
            "arms": [after, before],
            "rules": {"en": change(gain), "zh": change(gain, 4)},
            "evaluation": {"languages": {"en": {"judge": {**change(0.0), "n": 0}}}},
            "pressure": {"languages": {"en": {"differences": {r: change(0.0) for r in rates}}}},
            "facts": {"en": change(-cost)},
            "loss": {"en": change(cost)},
        }
        steps.append(record)
    for record, p in zip(steps, corrected_together(steps), strict=True):
        record["p_holm"] = p
    nothing, mixed = stages_lines({"steps": steps, "confidence": 0.95})
    assert nothing.startswith("CPT after base: no clear change: Of what was measured nothing")
    assert mixed.startswith("SFT after CPT: better and worse: The rules that an answer keeps in ")
    assert "English higher (+30.0 points" in mixed
    assert "asked plainly in English lower (−20.0 points" in mixed
    assert "the loss of held-out text in English higher (+0.200 nats a token" in mixed
    assert "Chinese" not in mixed  # four questions say nothing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {"cpt": {"stage": "cpt", "after": "base"}}}, "one must be the base model"),
        ({"arms": {"base": {}, "a": {"stage": "cpt", "after": "bas"}}}, "did you mean 'base'"),
        (
            {
                "arms": {
                    "base": {},
                    "a": {"stage": "cpt", "after": "b"},
                    "b": {"stage": "sft", "after": "a"},
                }
            },
            "a, b: each is after another of them",
        ),
        ({"arms": {"base": {}, "a": {"stage": "cpr", "after": "base"}}}, "did you mean 'cpt'"),
        ({"arms": {"base": {"data": "facts"}}}, "the base model has no data"),
        (
            {"arms": {"base": {}, "a": {"stage": "adversarial", "after": "base", "data": "fact"}}},
            "did you mean 'facts'",
        ),
        (
            {"arms": {"base": {}, "a": {"stage": "sft", "after": "base", "data": "facts"}}},
            "names what an adversarial stage is trained on, and no other",
        ),
        ({"held_out_share": 1.0}, "must be between 0 and 1"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(values, changes, message):
    with pytest.raises(UserError) as error:
        stages_config(values, **changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
