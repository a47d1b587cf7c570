"""Published multiple-choice sets are read by a mapping of columns alone."""

from collections import Counter

from tests.external.outside import DATA
from vcjax.core.files import read_json
from vcjax.evaluation.measures.choice import ChoiceSettings, load_choices


def test_safetybench_with_its_answers_apart():
    folder = DATA / "safetybench_zh_subset"
    answers = folder / "test_answers_zh_subset.json"
    items = load_choices(
        ChoiceSettings(items=str(folder / "test_zh_subset.json"), answers=str(answers), lang="zh")
    )
    published = read_json(answers)
    assert len(items) == len(published)
    assert Counter(item.category for item in items) == Counter(
        each["category"] for each in published.values()
    )
    for item in items:
        assert item.answer == published[item.id.rpartition("-")[2]]["answer"]


def test_parrot_with_its_options_in_one_text():
    (path,) = sorted((DATA / "parrot").glob("*.jsonl"))
    columns = "question:base.question,options:base.answers,answer:base.correct_letter"
    items = load_choices(ChoiceSettings(items=str(path), columns=f"{columns},category:base.subset"))
    assert len(items) > 1000
    assert len({item.category for item in items}) == 13
    assert {len(item.options) for item in items} == {4}
