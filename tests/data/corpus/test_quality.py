"""Good prose passes in both languages; each rule removes what it is for, and no threshold hides."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.core.errors import UserError
from vcjax.core.settings import build
from vcjax.data.corpus.document import Document, Removal
from vcjax.data.corpus.quality import (
    ChineseRules,
    EnglishRules,
    Quality,
    QualitySettings,
    broken_rule,
)
from vcjax.data.corpus.repetition import Grams, duplicate_shares

EN, ZH = EnglishRules(), ChineseRules()
PROSE = """\
The reading room of the old library was open to everyone who lived in the valley, and most of them
came on Saturdays, when the market filled the square. A farmer read the prices of wool. Two children
copied a map of the coast, with all of its islands, and argued about their names. Nobody asked them
to be quiet, since the librarian thought that a map was worth an argument."""
CHINESE = (
    "山谷里的旧图书馆对所有居民开放，大多数人在星期六来，因为那天广场上有集市。一位农民在看羊毛的价格，两个孩子在临摹海岸的地图，"
    "连岛屿也一个不漏，还为它们的名字争了起来。没有人让他们安静，因为管理员觉得，一张地图值得争论一番。傍晚时分，灯光亮起，人们才慢慢散去。"
)
OFF = {
    "least_units": 0,
    "most_units": 0,
    "least_mean_length": 0.0,
    "most_mean_length": 0.0,
    "most_hashes": 1e9,
    "most_ellipses": 1e9,
    "most_bullet_lines": 1.0,
    "most_ellipsis_lines": 1.0,
    "least_alphabetic": 0.0,
    "least_stop_words": 0,
    "most_punctuation": 1.0,
    "most_digits": 1.0,
    "least_punctuated_lines": 0.0,
    "most_short_lines": 1.0,
    "most_lines": 1e9,
    "least_sentences": 0,
    "no_placeholder": False,
    "no_braces": False,
    "most_repeated_lines": 1.0,
    "most_repeated_paragraphs": 1.0,
    "most_characters_in_repeated_lines": 1.0,
    "most_characters_in_repeated_paragraphs": 1.0,
    "top_shares": (1e9,) * 3,
    "repeated_shares": (1.0,) * 6,
}


def document(text, lang):
    return Document(text=text, id="d", source="s", file="f", line=1, lang=lang)


@pytest.mark.parametrize(("text", "rules"), [(PROSE, EN), (CHINESE, ZH)])
def test_prose_passes(text, rules):
    assert broken_rule(text, rules) is None


EN_CASES = [
    ("too short", "least_units", "A line. Another line, no more than that."),
    ("long words", "most_mean_length", PROSE + " antidisestablishmentarianism" * 25),
    ("short words", "least_mean_length", "I am so, as it is. " * 15),
    ("few words with letters", "least_alphabetic", PROSE + " 1 2 3 4 5 6 7 8 9" * 4),
    ("much punctuation", "most_punctuation", PROSE.replace(" ", " a-->! ")),
    ("many digits", "most_digits", PROSE + " 1234567890123" * 12),
    ("many hashes", "most_hashes", PROSE.replace("e ", "e #")),
    ("many ellipses", "most_ellipses", PROSE.replace("e ", "e… ")),
    ("few stop words", "least_stop_words", "Cats chase mice. " * 20),
    ("few sentences", "least_sentences", PROSE.replace(".", ",")),
    ("placeholder text", "no_placeholder", PROSE + " Lorem ipsum dolor sit amet."),
    ("curly brackets", "no_braces", PROSE + " {"),
    ("many bullets", "most_bullet_lines", "• One thing.\n- And another.\n" * 5),
    ("many lines that break off", "most_ellipsis_lines", PROSE.replace("\n", " ...\n")),
    ("few lines with sentences", "least_punctuated_lines", "Home\nNews\nShop\nTeam\n" * 3),
    ("short lines", "most_short_lines", "Home.\nNews.\nShop.\nTeam.\n" * 3),
    ("many lines", "most_lines", "Go home.\nRead news.\n" * 5),
    ("repeated lines", "most_repeated_lines", "One.\nTwo.\nOne.\nOne.\n"),
    ("repeated paragraphs", "most_repeated_paragraphs", "\n\n".join("abaa")),
    (
        "characters in repeated lines",
        "most_characters_in_repeated_lines",
        f"{PROSE}\nb\nc\n{PROSE}",
    ),
    (
        "characters in repeated paragraphs",
        "most_characters_in_repeated_paragraphs",
        f"{PROSE}\n\nb\n\nc\n\n{PROSE}",
    ),
    ("one 2-gram again and again", "top_shares", PROSE + " Call us" * 20),
    ("repeated 5-grams", "repeated_shares", PROSE + PROSE),
]
ZH_CASES = [
    ("too short", "least_units", "一句话。再来一句话，仅此而已。"),
    ("few words with letters", "least_alphabetic", CHINESE + "、1、2、3、4、5、6、7、8、9" * 6),
    ("many ellipses", "most_ellipses", CHINESE.replace("，", "……").replace("。", "……")),
    ("few stop words", "least_stop_words", "老猫追小鼠。" * 20),
    ("few sentences", "least_sentences", CHINESE.replace("。", "，")),
    ("few lines with sentences", "least_punctuated_lines", "首页\n新闻\n商店\n" * 4),
    ("short lines", "most_short_lines", "首页。\n新闻。\n商店。\n" * 4),
    ("many lines", "most_lines", "首页。\n新闻。\n" * 5),
    (
        "characters in repeated lines",
        "most_characters_in_repeated_lines",
        f"{CHINESE}\n甲\n{CHINESE}",
    ),
    ("one 3-gram again and again", "top_shares", CHINESE + "快来买" * 20),
    ("repeated 8-grams", "repeated_shares", CHINESE + CHINESE),
]
CASES = [(EN, *case) for case in EN_CASES] + [(ZH, *case) for case in ZH_CASES]


@pytest.mark.parametrize(
    ("rules", "reason", "name", "text"), CASES, ids=[f"{c[0].LANG} {c[1]}" for c in CASES]
)
def test_each_rule_removes_what_it_is_for(rules, reason, name, text):
    off = replace(rules, **OFF)
    assert broken_rule(text, off) is None
    threshold = True if name == "no_braces" else getattr(rules, name)
    found = broken_rule(text, replace(off, **{name: threshold}))
    assert found is not None
    assert found[0] == reason


def test_the_step_removes_with_a_measure_and_lets_other_languages_pass():
    step, counts = Quality(QualitySettings()), Counter()
    removal = step.apply(document("One. Two.", "en"), counts)
    assert isinstance(removal, Removal)
    assert (removal.step, removal.reason, removal.detail) == ("quality", "too short", "2 units")
    other = document("Un. Deux.", "fr")
    assert step.apply(other, counts) is other


def test_thresholds_are_fields_of_the_config_and_chinese_ones_stay_chinese():
    settings = build(QualitySettings, {"zh": {"least_units": 10}}, "config.quality")
    assert settings.zh == ChineseRules(least_units=10)
    with pytest.raises(UserError, match=r"config\.quality\.en\.least_unit: unknown field"):
        build(QualitySettings, {"en": {"least_unit": 10}}, "config.quality")
    with pytest.raises(UserError, match=r"config\.quality\.en\.top_sizes: must be ascending"):
        build(QualitySettings, {"en": {"top_sizes": [2]}}, "config.quality")


def by_definition(words, n, gap):
    """The shares of `Grams`, counted one by one."""
    places = range(len(words) - n + 1)
    counts = Counter(tuple(words[p : p + n]) for p in places)
    most = max(counts.values(), default=0)
    sizes = [sum(map(len, gram)) + gap * (n - 1) for gram, c in counts.items() if c == most]
    top = most * max(sizes) if most > 1 else 0
    seen, covered = set(), set()
    for place in places:
        gram = tuple(words[place : place + n])
        if gram in seen:
            covered.update(range(place, place + n))
        seen.add(gram)
    return top, sum(len(words[place]) for place in covered)


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), max_size=40), st.integers(1, 7))
def test_repetition_is_what_its_definition_counts(words, n):
    top, repeated = by_definition(words, n, gap=1)
    grams = Grams(words, 100, "en")
    assert grams.top_above([(n, 0.0)]) == ((n, pytest.approx(top / 100)) if top else None)
    assert grams.repeated_above([(n, 0.0)]) == ((n, repeated / 100) if repeated else None)


@given(st.text("一二三四", max_size=40), st.integers(1, 9))
def test_chinese_repetition_is_counted_in_characters(text, n):
    top, repeated = by_definition(text, n, gap=0)
    grams = Grams(tuple(text), 100, "zh")
    assert grams.top_above([(n, 0.0)]) == ((n, pytest.approx(top / 100)) if top else None)
    assert grams.repeated_above([(n, 0.0)]) == ((n, repeated / 100) if repeated else None)


@given(
    st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), max_size=60),
    st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1)), max_size=5),
)
def test_shortcuts_find_the_same_as_each_n_by_itself(words, limits):
    limits.sort()
    grams = Grams(words, 100, "en")
    for above in (grams.top_above, grams.repeated_above):
        each = (above([limit]) for limit in limits)
        assert above(limits) == next(filter(None, each), None)


def test_shares_of_repeated_lines():
    assert duplicate_shares(["ab", "c", "ab", "ab"]) == (0.5, pytest.approx(4 / 7))
    assert duplicate_shares(["ab", "c"]) == (0, 0)
