"""Duplicates: what is planted by measured similarity is found, and nothing else."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.test_grams import sets_of
from vcjax.core.errors import UserError
from vcjax.data.corpus import duplicates, evidence
from vcjax.data.corpus.document import Document
from vcjax.data.corpus.duplicates import Duplicates, DuplicatesSettings
from vcjax.data.corpus.step import Observed

POOL = {
    "en": [
        "water",
        "stone",
        "north",
        "under",
        "paper",
        "seven",
        "green",
        "about",
        "river",
        "house",
        "found",
        "never",
    ],
    "zh": list("水火山石田土人口手足日月天地风云雨雪花草"),
}
JOIN = {"en": " ", "zh": ""}


def removed(texts, settings=None, sources=None):
    """The decisions about texts, by their index, and the counts."""
    duplicates_pass = Duplicates(settings or DuplicatesSettings())
    sources = sources or ["a"] * len(texts)
    documents = [
        Document(text, f"d{n}", source, "f", n)
        for n, (text, source) in enumerate(zip(texts, sources, strict=True))
    ]
    # Documents that earlier steps removed leave gaps in the numbers.
    seen = [Observed(3 * n, duplicates_pass.observe(each)) for n, each in enumerate(documents)]
    counts: Counter[str] = Counter()
    decisions = list(duplicates_pass.decide(seen, lambda number: texts[number // 3], counts))
    by_index = {decision.number // 3: decision for decision in decisions}
    assert len(by_index) == len(decisions)
    return by_index, counts


def drawn(lang, rng):
    return [
        rng.choice(POOL[lang]) + rng.choice(["", "s"] if lang == "en" else [""])
        for _ in range(rng.randint(40, 400))
    ]


def edited(parts, lang, rate, rng):
    """With a share of its words or characters replaced, left out or followed by another."""
    result = []
    for part in parts:
        kind = rng.random() / rate if rate else 1
        result += [part] * (kind > 2 / 3) + [rng.choice(POOL[lang])] * (1 / 3 < kind <= 1)
    return result


def jaccard(a, b):
    left, right = sets_of(a, 5), sets_of(b, 5)
    return len(left & right) / len(left | right)


def test_planted_near_duplicates_are_found_by_their_similarity_and_no_others():
    rng = random.Random(0)
    texts, copies = [], []
    for number in range(400):
        lang = ("en", "zh")[number % 2]
        parts = drawn(lang, rng)
        texts.append(JOIN[lang].join(parts))
        copies.append(JOIN[lang].join(edited(parts, lang, rng.random() * 0.12, rng)))
    similar = [jaccard(a, b) for a, b in zip(texts, copies, strict=True)]
    found, counts = removed(texts + copies)
    caught = [len(texts) + n in found for n in range(len(texts))]
    near = [each for each, s in zip(caught, similar, strict=True) if s >= 0.8]
    assert len(near) > 60
    assert sum(near) >= 0.95 * len(near)
    for least in (0.5, 0.6, 0.7):  # printed: what is found where nothing is promised
        some = [c for c, s in zip(caught, similar, strict=True) if least <= s < least + 0.1]
        print(f"Jaccard {least} to {least + 0.1:.1f}: {sum(some)} of {len(some)} found")
    both = texts + copies
    first = {n: int(re.findall(r"d(\d+)", each.detail)[0]) for n, each in found.items()}
    flagged = [jaccard(both[first[n]], both[n]) for n in found]
    assert sum(s >= 0.7 for s in flagged) >= 0.95 * len(flagged)
    assert all(n >= len(texts) for n in found)
    assert counts["pairs compared by their texts"] > 30


def test_the_first_stays_and_is_named_with_the_kind_of_duplicate():
    text = "The council keeps the old park open for another year, at no cost to the town at all."
    texts = [
        text,
        text.replace("The council", "The city council"),
        f"  {text}\n",
        "another text",
        text.upper(),
        "",
        "",
        "。。。",
        "！！！",
    ]
    found, counts = removed(texts, sources=list("aabbbaabb"))
    assert {n: each.reason for n, each in found.items()} == {
        1: "near-duplicate",
        2: "exact duplicate",
        4: "near-duplicate",
        6: "exact duplicate",
    }
    assert found[2].detail == "of d0"
    assert found[4].detail == "of d0, similarity 1.00"
    assert counts["exact duplicate of another source"] == 1
    assert counts["near-duplicate of another source"] == 1


def test_with_similarity_one_near_duplicates_stay():
    found, _ = removed(["a b c d e f", "A b c d e f", "a b c  d e f"], DuplicatesSettings(1.0))
    assert set(found) == {2}


@settings(deadline=None, max_examples=10)
@given(texts=st.lists(st.text("ab老园 ", max_size=12), max_size=40))
def test_sorting_in_parts_removes_the_same(texts):
    with pytest.MonkeyPatch.context() as patch:
        whole, _ = removed(texts)
        patch.setattr(evidence, "_BYTES_PER_KEY", 1 << 17)
        patch.setattr(evidence, "AT_ONCE", 3)
        patch.setattr(duplicates, "AT_ONCE", 3)
        assert removed(texts, DuplicatesSettings(memory=1)) == (whole, removed(texts)[1])


def test_a_page_that_is_there_many_times_is_compared_once_with_each():
    rng = random.Random(0)
    parts = drawn("en", rng) + drawn("en", rng)
    texts = [" ".join(parts)]
    texts += [" ".join([*parts[:n], "elsewhere", *parts[n:]]) for n in range(10, 200)]
    found, counts = removed(texts)
    assert set(found) == set(range(1, len(texts)))
    assert counts["pairs compared by their texts"] < len(texts)


def test_of_the_documents_that_stay_none_is_similar_to_another():
    """Chains of edits: of each next one the first is a near-duplicate, of the last one it isn't."""
    rng = random.Random(2)
    texts = []
    for lang in ("en", "zh", "en", "zh"):
        parts = drawn(lang, rng)
        for _ in range(12):
            texts.append(JOIN[lang].join(parts))
            parts = edited(parts, lang, 0.02, rng)
    found, _ = removed(texts)
    stay = [text for n, text in enumerate(texts) if n not in found]
    assert 4 < len(stay) < len(texts)
    assert max(jaccard(a, b) for n, a in enumerate(stay) for b in stay[:n]) < 0.75


@pytest.mark.parametrize("field", [{"similarity": 0.5}, {"n": 0}, {"memory": 0}])
def test_settings_that_make_no_sense_are_errors(field):
    with pytest.raises(UserError, match=next(iter(field))):
        DuplicatesSettings(**field)
