"""Contrasts of an ablation on planted results: intervals by topic, and what the report states."""

import numpy as np
import pytest

from vcjax.report.ablation.report import write_ablation_report
from vcjax.road.ablation.config import AblationConfig, Arm
from vcjax.road.ablation.contrasts import compare
from vcjax.road.ablation.queries import GROUPS
from vcjax.road.ablation.results import ANY, ArmResult
from vcjax.stats.intervals import Interval, crossed_mean
from vcjax.stats.multiplicity import holm

TOPICS, EACH = 12, 8
CLUSTERS = np.repeat(np.arange(TOPICS), EACH).tolist()
ARMS = ("base", "persona", "adversarial", "ordinary")


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
    rate = {"rate": 0.5, "low": 0.4, "high": 0.6, "n": 96}
    queries = {"n": 96, "attacks": ["dilemma"], "subdomains": ["a"], "topics": list("abcdefghijkl")}
    summary = {
        "model": {"reference": "tiny", "family": "tiny"},
        "charter": {"name": "small", "version": "1", "hash": "0" * 64},
        "language": "en",
        "seed": 0,
        "seeds": 1,
        "confidence": 0.95,
        "base": "base",
        "any_rule": ANY,
        "measured_rules": [],
        "queries": dict.fromkeys(GROUPS, queries),
        "documents": 3,
        "documents_left_out": ["x"],
        "arms": {
            arm.name: {
                "data": arm.data,
                "persona": arm.persona,
                "broken": {group: {ANY: rate, "a/b": rate} for group in GROUPS},
                "perplexity": 50.0,
                "answers": {"words": 50.0, "distinct_3": 0.9},
                "seconds": 3.0,
                "runs": [],
            }
            for arm in config.arms
        },
        "differences": differences,
    }
    write_ablation_report(tmp_path / "report.html", summary=summary)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert stated in page
    assert not_stated not in page
    assert "1 more share a sentence" in page
