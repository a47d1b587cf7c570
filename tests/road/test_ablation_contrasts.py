"""Contrasts of an ablation on planted results: intervals by topic, and what the report states."""

import re
from functools import partial

import numpy as np
import pytest

from configs.ablate import get_config
from tests.report.bilingual import assert_translated, both
from vcjax.report.ablation.report import write_ablation_report
from vcjax.report.messages import identifier, written_in
from vcjax.road.ablation.config import AblationConfig, Arm
from vcjax.road.ablation.contrasts import compare
from vcjax.road.ablation.queries import GROUPS
from vcjax.road.ablation.results import ANY, ArmResult
from vcjax.stats.intervals import Interval, crossed_mean
from vcjax.stats.multiplicity import holm

TOPICS, EACH = 12, 8
CLUSTERS = np.repeat(np.arange(TOPICS), EACH).tolist()
ARMS = ("base", "persona", "adversarial", "ordinary")
RULES = ["answers/sane_length", "measured/complete_ending"]


@pytest.fixture
def config():
    """An ablation's config, but for what contrasts don't read."""
    made = object.__new__(AblationConfig)
    data = {
        "base": "none",
        "persona": "none",
        "adversarial": "attacks",
        "ordinary": "conversations",
    }
    arms = tuple(
        Arm(
            name=name,
            synthesis=None,
            train=None,
            data=data[name],
            like="adversarial" if name == "ordinary" else "",
            persona=name == "persona",
        )
        for name in ARMS
    )
    for field, value in {"arms": arms, "seed": 0}.items():
        object.__setattr__(made, field, value)
    return made


def result(attacked, clean):
    """What an arm did, by the share of the queries of each topic that break the rule."""

    def broken(rates):
        draw = np.random.default_rng(int(1000 * np.sum(rates)))
        return draw.random((1, TOPICS * EACH)) < np.repeat(rates, EACH)

    groups = {"held_out": broken(attacked), "clean": broken(clean), "trained": broken(attacked)}
    rules = {group: {ANY: values, "a/b": values} for group, values in groups.items()}
    return ArmResult(rules, np.zeros((1, 3)) + np.arange(3), (50.0,), ({},))


def reported(config, differences):
    """What `ablate` would have returned."""
    rate = {"rate": 0.5, "low": 0.4, "high": 0.6, "n": 96}
    topics = list("abcdefghijkl")
    queries = {"n": 96, "attacks": ["dilemma"], "subdomains": ["gender"], "topics": topics}
    counts = {"pairs": 1500, "steps": 40, "tokens": 20_000, "loss_tokens": 9000, "last_loss": 1.25}
    attacks = {"attempts": 120, "accepted": 31, "attack_success": {"rate": 0.75}}
    rules = (ANY, *RULES)
    return {
        "model": {"reference": "tiny", "family": "tiny"},
        "charter": {
            **{"name": "small", "version": "1", "hash": "0" * 64},
            "domains": {"gender": {"en": "Gender", "zh": "性别"}},
        },
        "language": "en",
        "seed": 0,
        "seeds": 1,
        "confidence": 0.95,
        "base": "base",
        "any_rule": ANY,
        "measured_rules": RULES[1:],
        "queries": dict.fromkeys(GROUPS, queries),
        "documents": 3,
        "documents_left_out": ["x"],
        "arms": {
            arm.name: {
                "data": arm.data,
                "persona": arm.persona,
                "broken": {group: dict.fromkeys(rules, rate) for group in GROUPS},
                "perplexity": 50.0,
                "answers": {"words": 50.0, "distinct_3": 0.9},
                "seconds": 3000.0,
                "runs": [
                    {"seed": seed, "rounds": [counts | attacks, counts] if arm.trains else []}
                    for seed in range(2)
                ],
            }
            for arm in config.arms
        },
        "differences": differences,
    }


def compared(config, adversarial):
    always = np.full(TOPICS, 0.99)
    results = {name: result(always, always) for name in ARMS}
    results["adversarial"] = adversarial
    return compare(config, results, dict.fromkeys(GROUPS, CLUSTERS)), results


def test_topics_are_the_units_of_an_interval(config):
    # Half of the topics are learned whole, half not at all: the queries of one say the same.
    learned = np.repeat([0.0, 1.0], TOPICS // 2)
    differences, results = compared(config, result(learned, np.ones(TOPICS)))
    found = Interval.of(differences[0]["broken"]["held_out"][ANY], "difference")
    change = (
        results["adversarial"].broken["held_out"][ANY].astype(float)
        - results["base"].broken["held_out"][ANY]
    )
    by_query = crossed_mean(change, scale=(-1.0, 1.0))
    assert found.value == pytest.approx(by_query.value)
    assert found.high - found.low > 2 * (by_query.high - by_query.low)


def test_planned_contrasts_are_corrected_together_and_others_are_not_read(config):
    differences, _ = compared(config, result(np.full(TOPICS, 0.6), np.full(TOPICS, 0.9)))
    planned = [tuple(each["arms"]) for each in differences if each["planned"]]
    assert planned == [
        ("adversarial", "base"),
        ("adversarial", "persona"),
        ("adversarial", "ordinary"),
    ]
    for each in differences:
        for record in (each["broken"]["held_out"][ANY], each["attacked_less_clean"]):
            assert ("reading" in record) == each["planned"]


def test_what_is_clear_by_itself_may_not_be_clear_among_all_comparisons(config):
    alone = []
    for plain in (0.94, 0.92, 0.91, 0.9, 0.89):  # how much plain questions change is planted
        differences, _ = compared(config, result(np.full(TOPICS, 0.99), np.full(TOPICS, plain)))
        tested = [
            record
            for each in differences
            if each["planned"]
            for record in (
                each["broken"]["held_out"][ANY],
                each["broken"]["clean"][ANY],
                each["attacked_less_clean"],
            )
        ]
        corrected = holm([record["p"] for record in tested])
        for record, p in zip(tested, corrected, strict=True):
            assert (record["reading"] == "no clear change") == (p > 0.05)
            if record["p"] <= 0.05 < p:
                alone.append(record)
    assert alone


@pytest.mark.parametrize(
    ("attacked", "clean", "stated", "not_stated"),
    [
        (0.2, 0.2, "So it is a habit", "attacks change more"),
        (0.2, 0.99, "attacks change more than plain questions do", "So it is a habit"),
        (0.99, 0.99, "no clear change", "broken less often under"),
    ],
)
def test_a_habit_and_what_attacks_alone_change_are_named(
    config, attacked, clean, stated, not_stated, tmp_path
):
    adversarial = result(np.full(TOPICS, attacked), np.full(TOPICS, clean))
    differences, _ = compared(config, adversarial)
    write_ablation_report(tmp_path / "report.html", summary=reported(config, differences))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert stated in page
    assert not_stated not in page
    assert "1 more share a sentence" in page


@pytest.mark.parametrize(("attacked", "clean"), [(0.2, 0.2), (0.2, 0.99), (0.99, 0.99)])
def test_a_chinese_report_has_no_english_and_the_same_numbers(config, attacked, clean, tmp_path):
    adversarial = result(np.full(TOPICS, attacked), np.full(TOPICS, clean))
    differences, _ = compared(config, adversarial)
    if attacked == clean:
        differences[0]["broken"]["held_out"][ANY]["reading"] = "higher"
    summary = reported(config, differences)
    arms = ("base", "adversarial")
    samples = [
        {"id": f"1-{lang}", "lang": lang, "domain": "gender", "attack": attack, "question": "Why?"}
        | {"answers": {name: {"text": "", "broken": broken} for name in arms}}
        for lang, attack, broken in (
            ("en", "dilemma", ["answers/sane_length", "language/answered_in_language"]),
            ("zh", "plain_question", []),
        )
    ]
    roles = ("attacker", "target", "actor", "replay", "conversations", "synthesis", "charter")
    parents = [{"role": role, "reference": "tiny", "hash": "1" * 64} for role in roles]
    lineage = [{"folder": "adversarial", "kind": "train", "hash": "2" * 64, "parents": parents}]
    write = partial(write_ablation_report, summary=summary, samples=samples, lineage=lineage)
    assert_translated(*both(tmp_path, write), names=r"\b(?:tiny|adversarial|train|verify)\b")


def test_the_shipped_arms_have_chinese_names():
    with written_in("zh"):
        for name in get_config().arms:
            assert not re.search("[A-Za-z]", identifier(name)), name
