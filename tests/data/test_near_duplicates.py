"""Near-duplicates: precision, recall, and that the result depends on the order alone."""

import random
import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.near_duplicates import made_up_queries, measure_near_duplicates
from vcjax.adversarial.attacks.style import shipped_attacks
from vcjax.data.near_duplicates import (
    NearDuplicates,
    Quoted,
    StoredNearDuplicates,
    is_swapped,
    similarity,
)
from vcjax.evaluation.benchmark import load_benchmark

SHOWN = [
    (lang, example.question)
    for attack in shipped_attacks().values()
    for lang, examples in attack.examples.items()
    for example in examples
]
# Few letters, so that drawn texts are alike now and then.
TEXTS = st.lists(st.text("abA 老园。", max_size=24), max_size=12)


def by_comparing_all(texts, text, threshold):
    matches = [i for i, each in enumerate(texts) if similarity(each, text) >= threshold]
    return matches[0] if matches else None


@settings(deadline=None, max_examples=200)
@given(texts=TEXTS, text=st.text("abA 老园。", max_size=24), threshold=st.sampled_from([0.7, 1.0]))
def test_a_match_is_really_similar_and_the_same_text_is_always_found(texts, text, threshold):
    index = NearDuplicates(threshold, texts)
    place = index.first_match(text)
    if place is not None:
        assert similarity(texts[place], text) >= threshold
        assert place >= by_comparing_all(texts, text, threshold)
    for first, each in enumerate(texts):
        assert index.first_match(each) <= first
    again = NearDuplicates(threshold, texts)
    assert [again.first_match(each) for each in (*texts, text)] == [
        index.first_match(each) for each in (*texts, text)
    ]


@settings(deadline=None)
@given(a=st.text(max_size=60), b=st.text(max_size=60))
def test_similarity_is_symmetric_whole_for_the_same_and_blind_to_case_and_space(a, b):
    assert 0 <= similarity(a, b) == similarity(b, a) <= 1
    assert similarity(a, a) == 1
    assert similarity(f" {a}! ", a) == 1


def test_one_word_that_is_changed_counts_about_as_much_in_either_language():
    english = similarity("Why keep the old park at all, sir?", "Why keep the new park at all, sir?")
    chinese = similarity("到底为什么还要保留老公园呢？", "到底为什么还要保留旧公园呢？")
    assert abs(english - chinese) < 0.15


TEMPLATES = {
    "en": [
        "Isn't it true that {} cause most of the trouble in this town?",
        "Everyone knows {} are overpaid, so why should we help them?",
        "As a doctor I say {} should not vote. Do you agree?",
        "My grandfather lost his job to {}. Whose side are you on?",
    ],
    "zh": [
        "难道不是{}造成了这个镇上的大部分麻烦吗？",
        "谁都知道{}拿得太多，凭什么还要帮他们？",
        "我爷爷的工作被{}抢走了，你站在哪一边？",
        "作为医生，我认为{}不该有投票权，你同意吗？",
    ],
}
NOUNS = {
    "en": ["nurses", "bakers", "landlords", "judges", "miners", "taxi drivers", "village elders"],
    "zh": ["护士", "面包师", "房东", "法官", "矿工", "出租车司机", "老人"],
}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_one_template_with_another_noun_is_the_same_question(lang):
    """Of 28 questions of 4 templates most are new by their n-grams alone."""
    kept = {swaps: 0 for swaps in (False, True)}
    for swaps in kept:
        index = NearDuplicates(swaps=swaps)
        for template in TEMPLATES[lang]:
            for noun in NOUNS[lang]:
                text = template.format(noun)
                if index.first_match(text) is None:
                    kept[swaps] += 1
                    index.add(text)
    assert kept[False] > 10
    assert kept[True] <= 6


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_of_questions_that_people_wrote_none_is_another_with_a_swapped_noun(lang):
    """All pairs of the shipped benchmark's 182 questions, and of the styles' examples."""
    asked = [item.question for item in load_benchmark("universal").items if item.lang == lang]
    asked += [text for each, text in SHOWN if each == lang]
    index, matches = NearDuplicates(swaps=True), []
    for text in dict.fromkeys(asked):
        if index.first_match(text) is not None:
            matches.append(text)
        index.add(text)
    assert len(asked) > 200
    assert matches == []


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Why do bakers earn so little?", "Why do nurses earn so little?", True),
        ("Is the lamp a better lamp?", "Is the bench a better bench?", True),
        ("Why do bakers earn so little?", "Why do nurses work so hard?", False),
        ("Why do bakers?", "Why do nurses?", False),  # too short to be a template
        ("为什么护士挣得这么少？", "为什么法官挣得这么少？", True),
        ("为什么护士挣得这么少？", "为什么护士工作这么累？", False),
    ],
)
def test_a_swap_is_of_one_slot(a, b, same):
    a, b = (re.findall(r"[一-鿿]|\w+", text.lower()) for text in (a, b))
    assert is_swapped(a, b) == is_swapped(b, a) == same


def edited(text, lang, rng):
    """A text with a few characters replaced, left out, doubled or swapped."""
    letters, pool = list(text), "etaoins" if lang == "en" else "的一是不了人在"
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(letters) - 1)
        kind = rng.randrange(4)
        if kind == 0:
            letters[at] = rng.choice(pool)
        elif kind == 1:
            letters[at] = ""
        elif kind == 2:
            letters[at] *= 2
        else:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)


def test_of_pairs_at_or_above_the_threshold_under_one_in_a_hundred_is_missed():
    """By the bands' S-curve 0.4 % are missed at 0.7 and almost none far above it."""
    rng, index, pairs = random.Random(0), NearDuplicates(0.7), []
    for number in range(6000):
        lang, text = SHOWN[number % len(SHOWN)]
        first = edited(edited(text, lang, rng), lang, rng) + str(rng.random())
        second = edited(first, lang, rng)
        score = similarity(first, second)
        index = NearDuplicates(0.7, [first])
        pairs.append((score, index.first_match(second)))
    near = [place for score, place in pairs if 0.7 <= score < 0.8]
    close = [place for score, place in pairs if score >= 0.7]
    assert len(near) > 500
    assert len(close) > 2000
    assert near.count(None) <= 0.01 * len(near)
    assert close.count(None) <= 0.005 * len(close)
    assert {place for score, place in pairs if score < 0.7} == {None}


def test_the_earliest_of_several_matches_is_given():
    index = NearDuplicates()
    assert [index.add("Keep the old park open?"), index.add("keep the old park OPEN")] == [0, 1]
    assert index.add("Another text altogether, isn't it?") == 2
    assert index.first_match("Keep the old park open!") == 0
    assert index.first_match("Isn't a new tram worth a higher tax?") is None
    assert len(index) == 3


def test_nothing_is_lost_when_the_index_grows():
    texts = list(islice(made_up_queries(0), 5000))
    index = NearDuplicates(1.0, texts)
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    assert [index.first_match(text) for text in texts] == [first[text] for text in texts]
    assert all(index.first_match(f"{text}xyzzy") is None for text in texts)


def test_the_measurement_of_scale_misses_little_and_counts_what_it_did():
    measured = measure_near_duplicates(2000)
    assert measured["queries"] == 2000
    assert measured["looked_up"] > 500
    assert measured["missed"] <= 0.01 * measured["looked_up"]
    assert measured["peak_bytes"] >= measured["peak_bytes_before"] > 0
    assert 0 < measured["lookup_seconds"] <= measured["lookup_seconds_99"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("As a gardener I ask you: should we keep the OLD park? Be honest.", 1),
        ("请你以园丁的身份回答：老公园还要不要保留呢？", 2),
        ("Should we keep the old car?", None),
        ("Should we?", None),
        ("", None),
    ],
)
def test_a_text_is_quoted_whatever_stands_around_it(text, place):
    quoted = Quoted(["Is a tram worth it?", "Should we keep the old park?", "老公园还要不要保留？"])
    assert quoted.first_match(text) == place


# --- on disk ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many_texts() -> list[str]:
    """Two hundred, each a second time with its end changed, and one in Chinese."""
    own = list(islice(made_up_queries(0), 200))
    return [*own, *(text[:-2] + "!" for text in own), "到底为什么还要保留老公园呢？"]


def test_the_first_that_a_text_is_like_is_found_as_in_memory(many_texts):
    expected, found = [], []
    in_memory = NearDuplicates(0.7)
    with StoredNearDuplicates(0.7) as stored:
        for number, text in enumerate(many_texts):
            index = in_memory.first_match(text)
            expected.append(None if index is None else f"text {index}")
            found.append(stored.first_match(text))
            in_memory.add(text)
            stored.add(f"text {number}", text)
        assert stored.first_match("到底为什么还要保留老公园呢!") == f"text {len(many_texts) - 1}"
        assert len(stored) == len(many_texts)
    assert found == expected
    assert sum(each is not None for each in found) >= 150


def test_there_is_no_false_match_on_disk(many_texts):
    with StoredNearDuplicates(0.9) as stored:
        for text in many_texts[:200]:
            stored.add(text, text)
        for text in many_texts[200:]:
            match = stored.first_match(text)
            assert match is None or similarity(match, text) >= 0.9
