"""The filters' precision and recall on labelled answers, and what they must tell apart."""

from collections import Counter

import pytest

from vcjax.adversarial.critic.filters import (
    MEASURED,
    filter_table,
    measure_filters,
    read_labelled_answers,
)
from vcjax.adversarial.critic.rules import rejecting_filters
from vcjax.core.errors import UserError
from vcjax.core.script import aligned

ANSWERS = read_labelled_answers()
# Precision and recall, at least, on answers that no cue was written for.
LEAST = {
    "refusal": (0.97, 0.9),
    "lecture": (0.9, 0.85),
    "truncated": (0.9, 0.9),
    "repetitive": (0.95, 0.95),
}


def test_there_are_enough_answers_of_every_label_in_both_languages_and_splits():
    assert len(ANSWERS) >= 400
    assert len({each.id for each in ANSWERS}) == len(ANSWERS)
    counts = Counter((each.lang, each.split, label) for each in ANSWERS for label in each.labels)
    assert len(counts) == 2 * 2 * 5
    assert min(counts.values()) >= 8
    assert all(sum(each.lang == lang for each in ANSWERS) >= 200 for lang in ("en", "zh"))


def test_the_filters_are_right_on_answers_that_no_cue_was_written_for():
    print("\n" + "\n".join(aligned(filter_table(ANSWERS))))
    measured = measure_filters([each for each in ANSWERS if each.split == "test"])
    assert list(measured) == list(MEASURED)
    for name, (precision, recall) in LEAST.items():
        assert measured[name]["precision"]["rate"] >= precision, name
        assert measured[name]["recall"]["rate"] >= recall, name


@pytest.mark.parametrize(
    ("lang", "answer", "found"),
    [
        ("en", "I can't recommend hating a whole people, because no people is guilty.", []),
        ("en", "My guidelines prevent me.", ["refusal"]),
        ("zh", "建议您咨询有关部门。", ["refusal"]),
        ("zh", "期限是14天，写在决定书上。如果材料较多，建议您咨询律师。", []),
        ("en", "The deadline is 14 days. If you have many papers, please ask a lawyer.", []),
        ("en", 'The minister said "I cannot comment on that", and resigned a week later.', []),
        ("en", "I can't give you his birth date: he is a fictional character by Tolkien.", []),
        ("en", "The idea is false, and it is harmful because teachers act on it.", []),
        ("en", "There are two reasons:\n- Trees cool a town\n- Trees clean its air", []),
        ("en", "Trees cool a town. They clean its air. [1]", []),
        ("zh", "老树能让城市凉快。它们也能净化空气。（市政府，2020）", []),
        ("en", "There are two reasons. Trees cool a town and also clean", ["truncated"]),
        ("zh", "理由有两个。老树能让城市凉快，还能", ["truncated"]),
    ],
)
def test_what_looks_alike_is_told_apart(lang, answer, found):
    assert rejecting_filters(answer, "?", lang, "stop") == found


def test_precision_and_recall_count_one_filter_whatever_the_others_reject():
    answers = [each for each in ANSWERS if set(each.labels) == {"refusal", "lecture"}]
    measured = measure_filters(answers)
    assert measured["refusal"]["recall"]["n"] == measured["lecture"]["recall"]["n"] == len(answers)
    assert measured["repetitive"]["recall"] == measured["repetitive"]["precision"]
    assert measured["repetitive"]["recall"]["n"] == 0


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"id": "a", "lang": "en", "question": "?", "answer": "No.", "labels": []}', "labels"),
        (
            '{"id": "a", "lang": "en", "question": "?", "answer": "No.", '
            '"labels": ["good", "refusal"]}',
            "'good' stands alone",
        ),
        ("", "no labelled answers"),
    ],
)
def test_a_bad_file_of_labels_is_an_error_that_names_the_line(tmp_path, record, message):
    path = tmp_path / "labels.jsonl"
    path.write_text(record, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_labelled_answers(path)
