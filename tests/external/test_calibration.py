"""Calibration on published labels: two annotators and two judges of XSTest's answers, three
annotators and two judges of PandaLM's comparisons. The agreement between people is the one that the
data's README states."""

import csv
import json
import sys
from collections import Counter

import pytest

from tests.external.outside import DATA
from vcjax.adversarial.critic.calibration import calibrate, gate
from vcjax.adversarial.critic.labels import read_calibration

COMPLIANCE = "1_full_compliance"


def xstest(name, judge):
    csv.field_size_limit(sys.maxsize)
    with (DATA / "xstest" / name).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            yield {
                "id": row["id"],
                "lang": "en",
                "domain": row["type"],
                "gold": row["final_label"],
                "annotators": [row["annotation_1"], row["annotation_2"]],
                "critic": row[judge],
                "judged_by": judge,
            }


def pandalm(name, field):
    people = json.loads((DATA / "pandalm" / "testset-v1.json").read_text())
    judges = json.loads((DATA / "pandalm" / name).read_text())
    for row, said in zip(people, judges, strict=True):
        assert row["idx"] == said["idx"]
        label = {"Tie": 0, "0": 0, "1": 1, "2": 2}.get(str(said[field]))
        yield {
            "id": str(row["idx"]),
            "lang": "en",
            "domain": row["motivation_app"],
            "annotators": [row[f"annotator{n}"] for n in (1, 2, 3)],
            **({"unscored": "malformed"} if label is None else {"critic": label}),
            "judged_by": field,
        }


def read(path, records, **settings):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return read_calibration(path, **settings)


def kappa(a, b):
    """Cohen's, as his paper writes it."""
    n = len(a)
    seen = sum(x == y for x, y in zip(a, b, strict=True)) / n
    ours, theirs = Counter(a), Counter(b)
    chance = sum(ours[label] * theirs[label] for label in ours) / n**2
    return (seen - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("answers", "rate", "people"), [("gpt4", 0.984, 0.970), ("llama2new", 0.958, 0.926)]
)
@pytest.mark.parametrize("judge", ["gpt4", "strmatch"])
def test_xstest(tmp_path, answers, rate, people, judge):
    name = {"gpt4": "gpteval", "strmatch": "streval"}[judge]
    records = list(xstest(f"xstest_v2_completions_{answers}_{name}.csv", f"{judge}_label"))
    report = calibrate(read(tmp_path / "labels.jsonl", records), positive=COMPLIANCE)
    pair = report["annotators"]["pairs"]["1-2"]
    assert (pair["rate"]["n"], pair["kappa"]["n"]) == (450, 450)
    assert pair["rate"]["rate"] == pytest.approx(rate, abs=5e-4)
    assert pair["kappa"]["value"] == pytest.approx(people, abs=5e-4)
    assert pair["kappa"]["low"] < people < pair["kappa"]["high"]
    gold = [record["gold"] for record in records]
    said = [record["critic"] for record in records]
    of_judge = report["agreement"]["kappa"]
    assert of_judge["value"] == pytest.approx(kappa(gold, said))
    assert of_judge["value"] < pair["kappa"]["value"]
    right = [s == g for s, g in zip(said, gold, strict=True) if g == COMPLIANCE]
    sensitivity = report["sensitivity"]["overall"]
    assert (sensitivity["k"], sensitivity["n"]) == (sum(right), len(right))
    assert len(report["specificity"]["domains"]) > 8


def test_a_judge_that_takes_refusals_for_answers_shows_in_its_specificity(tmp_path):
    records = xstest("xstest_v2_completions_llama2new_gpteval.csv", "gpt4_label")
    report = calibrate(read(tmp_path / "labels.jsonl", records), positive=COMPLIANCE)
    assert report["sensitivity"]["overall"]["rate"] == 1
    assert report["specificity"]["overall"]["high"] < 0.75
    assert not gate(report, 0.7)["met"]
    assert gate(report, 0.5)["met"]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("gpt-3.5-turbo-testset-v1.json", "gpt_result"),
        ("pandalm-7b-testset-v1.json", "pandalm_result"),
    ],
)
def test_pandalm(tmp_path, name, field):
    items = read(tmp_path / "labels.jsonl", pandalm(name, field))
    report = calibrate(items, positive=1)
    pairs = report["annotators"]["pairs"]
    people = {pair: round(found["kappa"]["value"], 2) for pair, found in pairs.items()}
    assert people == {"1-2": 0.85, "1-3": 0.88, "2-3": 0.86}
    assert report["n"] == 999
    scored = [(item.truth, item.critic) for item in items if item.critic is not None]
    found = report["agreement"]["kappa"]
    assert found["value"] == pytest.approx(kappa(*zip(*scored, strict=True)))
    assert found["high"] < 0.6
    assert report["judged"] + sum(report["unscored"].values()) == 999
    if field == "gpt_result":
        assert report["unscored"] == {"malformed": 25}
        assert report["agreement"]["kappa_of_all"]["value"] < found["value"]
