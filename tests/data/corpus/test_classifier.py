"""The classifier of domains: what it learns, keeps in its file and adds to the terms."""

import json
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest

from vcjax.core.errors import UserError
from vcjax.data.corpus.classifier import (
    NONE,
    Classifier,
    features,
    measure,
    read_labelled,
    train_classifier,
)
from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.selection import Selection, SelectionSettings

PARTS = {
    "family": ["the aunt cooks for the cousins", "姑姑给表弟做饭", "grandmother tells a story"],
    "technology": ["the phone sends a message", "手机收到一条消息", "a sensor reads the number"],
    NONE: ["the river is green in spring", "春天的河水是绿色的", "stones lie by the road"],
}


@pytest.fixture(scope="module")
def examples():
    return [
        (f"{number} {part}, {PARTS[domain][number % 3]}", domain)
        for domain, parts in PARTS.items()
        for number in range(20)
        for part in parts
    ]


@pytest.fixture(scope="module")
def classifier(examples) -> Classifier:
    return train_classifier(examples)


def test_it_is_measured_on_examples_that_it_was_not_trained_on(classifier, examples):
    assert classifier.classes == ("family", "none", "technology")
    assert 20 < classifier.measured["examples"] < 60 < len(examples)
    assert classifier.measured["accuracy"] == 1
    assert (
        sum(each["right"] for each in classifier.measured["classes"].values())
        == (classifier.measured["examples"])
    )
    wrong = [(text, "family") for text, domain in examples if domain == NONE]
    assert measure(classifier, wrong)["accuracy"] == 0


def test_the_same_examples_give_the_same_file_and_it_is_read_as_written(
    classifier, examples, tmp_path
):
    classifier.save(tmp_path / "a")
    train_classifier(reversed(examples)).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    again = Classifier.load(tmp_path / "a")
    assert (again.classes, again.measured) == (classifier.classes, classifier.measured)
    for text, _ in examples[:9]:
        assert again.probabilities(text).tolist() == classifier.probabilities(text).tolist()
        assert abs(again.probabilities(text).sum() - 1) < 1e-9


def test_features_are_of_words_characters_and_pairs_whatever_their_case():
    places, values = features("The phone, the PHONE")
    assert places.tolist() == features("the phone the phone")[0].tolist()
    assert abs(np.linalg.norm(values) - 1) < 1e-9
    assert [len(each) for each in features("。")] == [0, 0]


def test_selection_asks_it_where_terms_do_not_decide(classifier, tmp_path):
    path = tmp_path / "domains.safetensors"
    classifier.save(path)
    step = Selection(SelectionSettings("universal", classifier=str(path)))
    counts: Counter[str] = Counter()

    def domain_of(text):
        outcome = step.apply(Document(text, "d", "s", "f", 1), counts)
        return None if isinstance(outcome, Removal) else (outcome.domain, outcome.meta["domain_by"])

    assert domain_of("the cousins of the aunt") == ("family", "classifier")
    assert domain_of("the aunt of the migrant and the refugee") == ("migration", "terms")
    assert domain_of("green stones by the river") is None
    assert counts == {"domain found by the classifier": 1, "domain found by terms": 1}


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x80\x04pickle"])
def test_a_file_that_is_no_classifier_is_an_error(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a safetensors file"):
        Classifier.load(path)
    with pytest.raises(UserError, match="no such file"):
        Classifier.load(tmp_path / "absent")


def test_a_class_that_the_charter_lacks_and_too_few_examples_are_errors(classifier, tmp_path):
    with pytest.raises(UserError, match="two domains"):
        train_classifier([("a text", "family"), ("b text", "family")])
    other = Classifier(("gardening", NONE), np.zeros((1 << 16, 2), "f4"), np.zeros(2, "f4"), {})
    other.save(tmp_path / "other")
    with pytest.raises(UserError, match="'gardening' is no subdomain"):
        Selection(SelectionSettings("universal", classifier=str(tmp_path / "other")))


def test_labelled_examples_are_read_with_the_line_of_a_bad_one(tmp_path):
    shipped = files("vcjax.data").joinpath("demo/documents.jsonl")
    assert len(list(read_labelled([str(shipped)]))) == 52
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"text": "a"}))
    with pytest.raises(UserError, match=r"mine\.jsonl:1: needs 'text' and 'domain'"):
        list(read_labelled([str(path)]))
