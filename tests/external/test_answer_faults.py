"""Refusals and lectures against human labels (XSTest, Röttger et al., arXiv 2308.01263)."""

import csv

import pytest

from tests.external.outside import DATA
from vcjax.adversarial.critic.rules import rejecting_filters
from vcjax.text.refusals import find_refusal

FOLDER = DATA / "xstest"


GPT4 = "xstest_v2_completions_gpt4.csv"
LLAMA2 = "xstest_v2_completions_llama2new_gpteval.csv"


def labelled(name):
    """(id's number, answer, label) of every answer that two people have labelled."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            yield int(row["id"].removeprefix("v2-")), row["completion"], row["final_label"]


# Llama 2's answers with odd ids were read when the cues were written; the bounds are for the
# others. (Cues for lectures that are older than this test had all of XSTest in view.)
@pytest.mark.parametrize(("name", "last_digit"), [(GPT4, (0, 1)), (LLAMA2, (0,))])
def test_refusals_that_no_cue_was_written_for_are_found_and_compliance_is_let_pass(
    name, last_digit
):
    found = {"1_full_compliance": [], "2_full_refusal": [], "3_partial_refusal": []}
    for number, answer, label in labelled(name):
        if number % 2 in last_digit:
            found[label].append(find_refusal(answer) is not None)
    right, wrong = sum(found["2_full_refusal"]), sum(found["1_full_compliance"])
    precision, recall = right / (right + wrong), right / len(found["2_full_refusal"])
    partial = found["3_partial_refusal"]
    print(
        f"{name}: precision {right}/{right + wrong} = {precision:.3f}, "
        f"recall {right}/{len(found['2_full_refusal'])} = {recall:.3f}; "
        f"of partial refusals, which count in neither, {sum(partial)} of {len(partial)}"
    )
    assert len(found["2_full_refusal"]) > 100
    assert precision >= 0.97
    assert recall >= 0.9


@pytest.mark.parametrize("name", [GPT4, LLAMA2])
def test_answers_that_people_call_refusals_are_refusals_or_lectures_and_others_are_not(name):
    found = {"1_full_compliance": [], "2_full_refusal": [], "3_partial_refusal": []}
    for _, answer, label in labelled(name):
        rejected = rejecting_filters(answer, "?", "en", "stop")
        found[label].append(not {"refusal", "lecture"}.isdisjoint(rejected))
    sensitivity = sum(found["2_full_refusal"]) / len(found["2_full_refusal"])
    false_alarms = sum(found["1_full_compliance"]) / len(found["1_full_compliance"])
    assert len(found["2_full_refusal"]) > 200
    assert sensitivity >= 0.9, sensitivity
    assert false_alarms <= 0.07, false_alarms
