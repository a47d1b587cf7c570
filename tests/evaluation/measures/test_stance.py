import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.charter.load import load_charter
from vcjax.core.files import read_jsonl
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.evaluation.comparison.options import option_pairs
from vcjax.evaluation.comparison.runs import ScoredRun
from vcjax.evaluation.measures.stance import (
    Stance,
    StanceSettings,
    _asks,
    item_record,
    orders_of,
    summarise,
)
from vcjax.evaluation.options.stances import StanceItem, load_stances
from vcjax.evaluation.subject import EvaluationSettings, Subject
from vcjax.road.evaluate import run_evaluation
from vcjax.roles.recorded import RecordedRole
from vcjax.stats.intervals import Interval
from vcjax.stats.multiplicity import corrected

DIMENSIONS = ("economy", "custom")


def statements(tmp_path, items=20):
    rows = [
        {
            "id": f"{dimension}-{number}",
            "dimension": dimension,
            "sign": 1 if number % 2 else -1,
            "question": f"Statement {number} on {dimension}.",
        }
        for dimension in DIMENSIONS
        for number in range(items)
    ]
    path = tmp_path / "statements.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def answered(items, level, random):
    """Log-likelihoods of a model whose position on a dimension is about `level(dimension)`, and
    that likes the letter A."""
    lines = []
    for item in items:
        at = level(item.dimension) + random.normal(0, 0.3)
        by_option = [1.5 * at * (position or 0.0) for position in item.positions]
        for order, ask in zip(orders_of(item), _asks(item), strict=True):
            shown = [by_option[index] + 0.4 * (place == 0) for place, index in enumerate(order)]
            logprobs = np.array(shown) - np.logaddexp.reduce(shown)
            lines.append({"key": ask.key, "answers": ask.answers, "logprobs": logprobs.tolist()})
    return lines


def records_of(tmp_path, level, seed, settings):
    """The measure's part of the summary, and the records of its items."""
    items = load_stances(settings.items, settings.columns, settings.lang)
    lines = answered(items, level, np.random.default_rng(seed))
    path = tmp_path / f"model-{seed}.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    charter = load_charter("universal")
    subject = Subject(RecordedRole(path), (), charter, EvaluationSettings())
    stance = Stance(charter, load_benchmark("universal", charter), list, settings)
    folder = tmp_path / f"stance-{seed}"
    part = stance.run(subject, tmp_path, folder)
    return part, [record for _, record in read_jsonl(folder / "items.jsonl")]


def significant(tmp_path, before, after):
    """The sign of each shift that is significant after correction, by dimension and language."""
    runs = [
        ScoredRun("", tmp_path, "vcjax", (), None, {}, options={"stance": tuple(records)})
        for records in (before, after)
    ]
    tests = {key[1:]: own.record(0, 0.95) for key, own in option_pairs(*runs).items()}
    p = corrected({key: Interval.of(each, "difference") for key, each in tests.items()})
    return {key: np.sign(tests[key]["difference"]) for key in p if p[key] <= 0.05}


def test_a_planted_shift_is_found_on_its_dimension_and_no_other(tmp_path):
    settings = StanceSettings(items=statements(tmp_path))
    _, base = records_of(tmp_path, lambda dimension: 0.2, 1, settings)
    _, same = records_of(tmp_path, lambda dimension: 0.2, 2, settings)
    part, moved = records_of(
        tmp_path, lambda dimension: -0.5 if dimension == "custom" else 0.2, 3, settings
    )

    assert significant(tmp_path, base, moved) == {("custom", "en"): -1}
    assert significant(tmp_path, base, same) == {}
    assert part["dimensions"]["custom"]["en"]["position"]["position"] < 0
    assert part["dimensions"]["economy"]["en"]["position"]["position"] > 0


def test_a_planted_shift_is_found_by_the_shipped_statements(tmp_path):
    """Of twelve statements in two languages, after the correction for all dimensions."""
    settings = StanceSettings()
    _, base = records_of(tmp_path, lambda dimension: 0.2, 1, settings)
    _, moved = records_of(
        tmp_path, lambda dimension: -0.5 if dimension == "nation_first" else 0.2, 2, settings
    )
    assert significant(tmp_path, base, moved) == {
        ("nation_first", lang): -1 for lang in ("all", "en", "zh")
    }


def test_versions_of_a_statement_count_as_one():
    def position(items):
        records = [
            item_record(item, [np.array([p, 1 - p]), np.array([1 - p, p])])
            for item, p in zip(items, np.linspace(0.1, 0.9, len(items)), strict=True)
        ]
        part = summarise(records, {item.id: {} for item in items}, seed=0, confidence=0.95)
        return part["dimensions"]["d"]["en"]["position"]

    def items(versions):
        return [
            StanceItem(f"{n}", f"{n // versions}", "en", "d", "Q", ("no", "yes"), (-1.0, 1.0))
            for n in range(12)
        ]

    single, several = position(items(1)), position(items(3))
    assert several["position"] == single["position"]
    assert several["high"] - several["low"] > 1.2 * (single["high"] - single["low"])


def test_the_shipped_statements_run_at_once_in_both_languages(world, tmp_path):
    lines = answered(load_stances("", "", "en"), lambda dimension: 0.0, np.random.default_rng(4))
    config = world(lambda id: 3, per_domain=1, versions=(), more=lines, measures="stance")
    part = run_evaluation(config, tmp_path / "run")["measures"]["stance"]
    assert part["shipped"]
    assert set(part["languages"]) == {"en", "zh"}
    found = part["dimensions"]["nation_first"]["zh"]["position"]
    assert found["n"] == 12
    assert part["dimensions"]["nation_first"]["all"]["position"]["n"] == 24
    assert found["low"] < found["position"] < found["high"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="stance"' in page
    assert "this project&#39;s own" in page


@given(st.lists(st.floats(-5, 0), min_size=2, max_size=6), st.booleans())
def test_a_preference_for_letters_alone_is_no_position(preferences, scale):
    options = tuple(map(str, range(len(preferences))))
    positions = tuple(np.linspace(-1, 1, len(options)).tolist()) if scale else ()
    item = StanceItem("a", "a", "en", "d", "Q", options, positions)
    shown = np.exp(preferences) / np.exp(preferences).sum()
    record = item_record(item, [shown for _ in orders_of(item)])
    if scale:
        assert record["position"] == pytest.approx(0, abs=1e-9)
    else:
        assert record["probabilities"] == pytest.approx([1 / len(options)] * len(options))
        assert record["entropy"] == pytest.approx(1)
    assert 0 <= record["order"] <= 1


def test_a_firm_answer_has_no_entropy_and_no_order_effect_and_a_refusal_no_position():
    item = StanceItem("a", "a", "en", "d", "Q", ("no", "yes", "refused"), (-1.0, 1.0, None))
    firm = item_record(item, [np.array([0, 0.5, 0.5]), np.array([0.5, 0.5, 0])])
    assert firm["position"] == 1
    assert (firm["order"], firm["flips"]) == (0, False)
    torn = item_record(item, [np.array([1.0, 0, 0]), np.array([0, 1.0, 0])])
    assert (torn["position"], torn["flips"]) == (0, True)
    led = item_record(item, [np.array([1.0, 0, 0]), np.array([0, 0.2, 0.8])])
    assert led["order"] == pytest.approx(0.1)


def test_the_nearest_group_comes_first_and_small_ones_are_left_out():
    groups = {"near": (0.8, 0.2), "far": (0.1, 0.9)}
    records = []
    for number in range(12):
        item = StanceItem(f"{number}", f"{number}", "en", "d", "Q", ("a", "b"))
        records.append(item_record(item, [np.array([0.8, 0.2]), np.array([0.2, 0.8])]))
    by_item = {record["id"]: groups | ({"few": (1.0, 0.0)} if i < 9 else {})
               for i, record in enumerate(records)}  # fmt: skip
    part = summarise(records, by_item, seed=0, confidence=0.95)
    assert list(part["groups"]["en"]) == ["near", "far"]
    assert part["groups"]["en"]["near"]["similarity"] == pytest.approx(1, abs=1e-6)
    assert part["languages"]["en"]["flips"]["n"] == 0
    assert part["dimensions"]["d"]["en"]["position"]["position"] is None
