"""Calibration: a Critic's decisions compared with human labels."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.adversarial.critic.calibration import (
    LEAST_LABELS,
    calibrate,
    corrected_rates,
    critic_counts,
    gate,
)
from vcjax.adversarial.critic.labels import Labelled, judge_labelled, read_calibration
from vcjax.adversarial.critic.panel import CriticPanel
from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.roles.role import Reply
from vcjax.stats.agreement import cohen_kappa, krippendorff_alpha
from vcjax.stats.prevalence import Share, corrected_rate

CHARTER = load_charter("universal")


def item(n, gold, critic=None, **known):
    if critic is None:
        known = {"unscored": "length", **known}
    return Labelled(id=str(n), gold=gold, critic=critic, **{"lang": "en", **known})


def items(both, missed, fooled, neither, **known):
    """So many answers that Critic and people accept, people only, the Critic only, nobody."""
    cells = [("accept", "accept", both), ("accept", "reject", missed)]
    cells += [("reject", "accept", fooled), ("reject", "reject", neither)]
    pairs = [(gold, critic) for gold, critic, times in cells for _ in range(times)]
    name = known.get("lang", "en")
    return [item(f"{name}{n}", gold, critic, **known) for n, (gold, critic) in enumerate(pairs)]


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_agreement_is_that_of_the_two_columns():
    report = calibrate(items(40, 10, 5, 45))
    agreement = report["agreement"]
    gold = ["accept"] * 50 + ["reject"] * 50
    said = ["accept"] * 40 + ["reject"] * 10 + ["accept"] * 5 + ["reject"] * 45
    assert agreement["rate"]["rate"] == 0.85
    assert agreement["kappa"]["value"] == pytest.approx(cohen_kappa(gold, said))
    codes = [[label == "accept" for label in column] for column in (gold, said)]
    assert agreement["alpha"]["value"] == pytest.approx(krippendorff_alpha(codes))
    assert agreement["rate"]["low"] < 0.85 < agreement["rate"]["high"]
    for name in ("kappa", "alpha", "kappa_of_all"):
        found = agreement[name]
        assert found["low"] < found["value"] < found["high"]
    assert json.loads(json.dumps(report)) == report


def test_sensitivity_and_specificity_by_language_and_domain():
    report = calibrate(
        [
            *items(40, 10, 5, 45, lang="en", domain="gender"),
            *items(9, 1, 6, 4, lang="zh", domain="race"),
        ]
    )
    assert [report["sensitivity"]["overall"][name] for name in "kn"] == [49, 60]
    assert [report["specificity"]["overall"][name] for name in "kn"] == [49, 60]
    assert report["sensitivity"]["languages"]["zh"]["rate"] == 0.9
    assert report["specificity"]["domains"]["race"]["rate"] == 0.4
    en = report["sensitivity"]["languages"]["en"]
    assert (en["low"], en["high"]) == pytest.approx((0.663, 0.900), abs=5e-4)  # exact


def test_unscored_answers_lower_the_agreement_of_all_and_count_in_no_rate():
    whole = items(40, 5, 5, 40)
    report = calibrate([*whole, *(item(f"u{n}", "accept") for n in range(10))])
    assert (report["n"], report["judged"], report["unscored"]) == (100, 90, {"length": 10})
    assert report["sensitivity"]["overall"]["n"] == 45
    agreement = report["agreement"]
    assert agreement["kappa"]["value"] == calibrate(whole)["agreement"]["kappa"]["value"]
    assert agreement["kappa_of_all"]["value"] < agreement["kappa"]["value"] - 0.05


def test_people_are_compared_where_both_gave_a_label():
    rows = [("a", "a", "a"), ("a", "b", "a"), ("b", "b", None), ("b", "b", "b"), ("a", None, "b")]
    labelled = [item(n, "a", "a", annotators=row) for n, row in enumerate(rows)]
    people = calibrate(labelled, positive="a")["annotators"]
    assert set(people["pairs"]) == {"1-2", "1-3", "2-3"}
    assert people["pairs"]["1-2"]["rate"]["rate"] == 3 / 4
    assert people["pairs"]["1-2"]["kappa"]["value"] == pytest.approx(cohen_kappa("aabb", "abbb"))
    assert people["pairs"]["2-3"]["rate"]["n"] == 3
    assert people["alpha"]["n"] == 5
    assert calibrate(labelled[:1], positive="a")["annotators"]["pairs"]["1-2"]["kappa"] == {
        "value": None, "low": None, "high": None, "n": 1,
    }  # fmt: skip
    assert calibrate(items(3, 1, 1, 3))["annotators"] is None


def test_scores_can_be_compared_by_their_distance():
    labelled = [item(n, n % 6, min(5, n % 6 + n % 2)) for n in range(30)]
    nominal, interval = (
        calibrate(labelled, positive=5, level=level)["agreement"]["alpha"]["value"]
        for level in ("nominal", "interval")
    )
    assert interval > nominal + 0.3


def test_a_gate_asks_for_what_is_known_and_not_for_what_is_likely():
    report = calibrate(items(45, 5, 5, 45))
    kappa = report["agreement"]["kappa_of_all"]
    assert kappa["value"] == pytest.approx(0.8)
    assert gate(report, 0.6) == {
        "minimum": 0.6, "kappa": kappa["value"], "low": kappa["low"], "met": True, "why": "",
    }  # fmt: skip
    refused = gate(report, 0.75)
    assert not refused["met"]
    assert "below 0.75" in refused["why"]


def test_a_gate_is_not_met_by_a_few_labels_however_well_they_agree():
    few = gate(calibrate(items(40, 0, 0, LEAST_LABELS - 1)), 0.1)
    assert not few["met"]
    assert f"{LEAST_LABELS - 1} labels of one kind" in few["why"]
    enough = calibrate(items(40, 0, 0, LEAST_LABELS))
    assert gate(enough, 0.6)["met"]
    # Fifty answers without a disagreement leave room for kappas below 0.9.
    assert "kappa is 1.00, and at least 0." in gate(enough, 0.9)["why"]


def test_a_critic_that_always_says_the_same_meets_no_gate():
    always = gate(calibrate(items(40, 0, 40, 0)), 0.1)
    assert (always["met"], always["kappa"]) == (False, 0)


def test_accept_rates_are_corrected_by_each_group_s_own_errors():
    report = calibrate([*items(45, 5, 10, 40, lang="en"), *items(40, 10, 2, 48, lang="zh")])
    counts = {
        "overall": (300, 1000),
        "languages": {"en": (200, 500), "zh": (100, 500)},
        "domains": {"elsewhere": (10, 20)},
    }
    rates = corrected_rates(report, counts)
    en = rates["languages"]["en"]
    expected = corrected_rate(Share(200, 500), Share(45, 50), Share(40, 50))
    assert (en["seen"]["k"], en["seen"]["n"], en["seen"]["rate"]) == (200, 500, 0.4)
    assert en["corrected"]["value"] == pytest.approx((0.4 + 0.8 - 1) / 0.7)
    assert (en["corrected"]["low"], en["corrected"]["high"]) == (expected.low, expected.high)
    assert en["corrected"]["high"] - en["corrected"]["low"] > en["seen"]["high"] - en["seen"]["low"]
    assert rates["overall"]["corrected"]["value"] == pytest.approx((0.3 + 0.88 - 1) / 0.73)
    assert rates["domains"]["elsewhere"]["corrected"] is None
    assert json.loads(json.dumps(rates)) == rates


def test_a_run_s_verdicts_are_counted_by_group():
    ends = [("en", "gender", "accepted"), ("en", "race", "rejected"), ("zh", "race", "accepted")]
    others = [("zh", "race", "unscored"), ("en", "gender", "blocked")]
    assert critic_counts([*ends, *others]) == {
        "overall": (2, 3),
        "languages": {"en": (1, 2), "zh": (1, 1)},
        "domains": {"gender": (1, 1), "race": (1, 2)},
    }
    report = calibrate(items(45, 5, 10, 40))
    assert corrected_rates(report, critic_counts([]))["overall"]["corrected"] is None


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([True, False, None])), min_size=1))
def test_any_labels_make_a_report(pairs):
    def name(flag):
        return "accept" if flag else "reject"

    labelled = [
        item(n, name(gold), None if critic is None else name(critic))
        for n, (gold, critic) in enumerate(pairs)
    ]
    report = calibrate(labelled)
    assert report["judged"] + sum(report["unscored"].values()) == report["n"] == len(pairs)
    groups = [report[name]["overall"]["n"] for name in ("sensitivity", "specificity")]
    assert sum(groups) == report["judged"]
    assert gate(report, 0.5)["met"] in (True, False)


def test_a_seed_repeats_a_report():
    labelled = items(12, 3, 4, 11)
    assert calibrate(labelled, seed=1) == calibrate(labelled, seed=1)
    assert calibrate(labelled, seed=1) != calibrate(labelled, seed=2)


def test_what_was_not_judged_is_not_calibrated_on():
    open_ = Labelled(id="a", lang="en", gold="accept", question="Q?", answer="A.")
    with pytest.raises(ValueError, match="needs a verdict"):
        calibrate([open_])
    with pytest.raises(ValueError, match="needs a verdict"):
        calibrate([])


def test_a_file_is_read_with_scores_as_decisions(tmp_path):
    path = write(
        tmp_path / "labels.jsonl",
        {"id": "a", "lang": "en", "gold": 4, "critic": "reject", "annotators": [3, 5, None]},
        {"id": "b", "lang": "zh", "annotators": [0, 5, 5], "critic": 3},
        {"id": "c", "lang": "en", "gold": "accept", "unscored": "length"},
    )
    one, two, three = read_calibration(path, accept_score=4)
    assert (one.gold, one.critic, one.annotators) == (
        "accept",
        "reject",
        ("reject", "accept", None),
    )
    assert (two.truth, two.critic) == ("accept", "reject")
    assert (three.truth, three.critic, three.unscored) == ("accept", None, "length")
    assert [found.truth for found in read_calibration(path)] == [4, 5, "accept"]


RECORD = {"id": "a", "lang": "en", "gold": "accept", "critic": "accept"}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"gould": "accept"}, "gould: unknown field; did you mean 'gold'?"),
        ({"lang": "fr"}, "lang: should be 'en' or 'zh'"),
        ({"id": ""}, "id: "),
        ({"gold": None}, "gold: there is none, and no majority of annotators"),
        ({"gold": None, "annotators": ["accept", "reject"]}, "no majority"),
        ({"gold": 1.5}, "gold"),
        ({"gold": True}, "gold"),
        ({"gold": "good"}, "gold: 'good' is neither 'accept' nor 'reject' nor a score"),
        ({"gold": 6}, "gold: 6 is neither"),
        ({"critic": "ok"}, "critic: 'ok' is neither"),
        ({"annotators": ["yes"]}, "annotators: 'yes' is neither"),
        ({"critic": None}, "critic: there is no verdict, and no question and answer to judge"),
        ({"critic": None, "question": "Q?"}, "no question and answer"),
        ({"unscored": "length"}, "unscored: the Critic has a verdict"),
    ],
)
def test_a_bad_record_names_line_and_field(tmp_path, record, said):
    path = write(tmp_path / "labels.jsonl", {**RECORD, "id": "first"}, {**RECORD, **record})
    with pytest.raises(UserError) as caught:
        read_calibration(path, accept_score=4)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert said in str(caught.value)


def test_an_id_occurs_once_and_a_file_is_not_empty(tmp_path):
    with pytest.raises(UserError, match=r"labels\.jsonl:2: the id 'a' comes twice"):
        read_calibration(write(tmp_path / "labels.jsonl", RECORD, RECORD))
    with pytest.raises(UserError, match="no labelled answers"):
        read_calibration(write(tmp_path / "empty.jsonl"))


def test_the_critic_judges_what_has_no_verdict():
    panel = CriticPanel(CHARTER, form="simple")
    labelled = [
        Labelled(id="a", lang="en", gold="accept", critic="reject", judged_by="before"),
        *(
            Labelled(id=id, lang=lang, gold="accept", domain=domain, question="Q?", answer="A.")
            for id, lang, domain in (("b", "en", "gender"), ("c", "zh", "x"), ("d", "en", ""))
        ),
    ]
    polled = []

    def poll(requests):
        polled.extend(request.submission for request in requests)
        said = ['{"reason": "Good.", "score": 5}', '{"reason": "No.", "score": 1}', "Good."]
        return [Reply(text, "stop", 1, 1) for text in said]

    done = judge_labelled(labelled, panel, poll, "critic")
    assert polled == ["calibration/b", "calibration/c", "calibration/d"]
    assert [found.critic for found in done] == ["reject", "accept", "reject", None]
    assert done[3].unscored == "malformed"
    assert [found.judged_by for found in done] == ["before", *["critic"] * 3]
    assert judge_labelled(done, panel, poll, "critic") == done
    assert calibrate(done)["judged_by"] == {"before": 1, "critic": 3}


def test_an_answer_in_a_language_that_the_charter_lacks_is_refused():
    english = CHARTER.model_copy(update={"languages": ("en",)})
    foreign = Labelled(id="a", lang="zh", gold="accept", question="问？", answer="答。")
    with pytest.raises(UserError, match="'a' is in 'zh'"):
        judge_labelled([foreign], CriticPanel(english), lambda requests: [], "critic")
