"""Steps of a corpus on published text: nearly all of it is clean prose in a known language."""

import json
from collections import Counter

import pytest

from tests.external.outside import DATA
from vcjax.data.corpus.language import chinese_script, language_of
from vcjax.data.corpus.normalise import normalise
from vcjax.data.corpus.personal import masked
from vcjax.data.corpus.quality import ChineseRules, EnglishRules, broken_rule

RULES = {"en": EnglishRules(), "zh": ChineseRules()}


def paragraphs(lang):
    articles = json.loads((DATA / f"xquad/xquad.{lang}.json").read_text())["data"]
    return [each["context"] for article in articles for each in article["paragraphs"]]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_paragraphs_are_routed_to_their_language(lang):
    texts = paragraphs(lang)
    right = sum(language_of(text)[0] == lang for text in texts)
    assert right / len(texts) >= 0.99


@pytest.mark.parametrize(
    ("name", "lang", "script"),
    [("cmn_hant", "zh", "Hant"), ("cmn_hans", "zh", "Hans"), ("eng", "en", None)],
)
def test_the_declaration_of_human_rights_is_routed_as_a_whole_and_by_lines(name, lang, script):
    text = (DATA / f"udhr/udhr2__{name}.txt").read_text()
    lines = [line for line in text.splitlines() if len(line.strip()) > 12]
    for each in (text, *lines):
        assert language_of(each)[0] == lang
    if script:
        scripts = Counter(map(chinese_script, lines))
        assert chinese_script(text) == script
        # A line may have none of the characters that differ.
        assert scripts[script] >= 0.98 * len(lines)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_of_clean_paragraphs_nothing_is_repaired_or_masked_and_few_are_removed(lang):
    texts = paragraphs(lang)
    reasons = Counter()
    for text in texts:
        normal, repaired = normalise(text)
        assert not repaired
        assert masked(normal) == (normal, {})
        reason = broken_rule(normal, RULES[lang])
        reasons[reason and reason[0]] += 1
    # A paragraph may be too short for a document.
    assert reasons[None] + reasons["too short"] >= 0.97 * len(texts)
