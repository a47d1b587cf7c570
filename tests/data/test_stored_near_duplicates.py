"""Near-duplicates on disk are those that are found in memory."""

from itertools import islice

import pytest

from benchmarks.near_duplicates import made_up_queries
from vcjax.data.near_duplicates import NearDuplicates, similarity
from vcjax.data.stored_near_duplicates import StoredNearDuplicates


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Two hundred, each a second time with its end changed, and one in Chinese."""
    own = list(islice(made_up_queries(0), 200))
    return [*own, *(text[:-2] + "!" for text in own), "到底为什么还要保留老公园呢？"]


def test_the_first_that_a_text_is_like_is_found_as_in_memory(texts):
    expected, found = [], []
    in_memory = NearDuplicates(0.7)
    with StoredNearDuplicates(0.7) as stored:
        for number, text in enumerate(texts):
            place = in_memory.first_match(text)
            expected.append(None if place is None else f"text {place}")
            found.append(stored.first_match(text))
            in_memory.add(text)
            stored.add(f"text {number}", text)
        assert stored.first_match("到底为什么还要保留老公园呢!") == f"text {len(texts) - 1}"
        assert len(stored) == len(texts)
    assert found == expected
    assert sum(each is not None for each in found) >= 150


def test_there_is_no_false_match(texts):
    with StoredNearDuplicates(0.9) as stored:
        for text in texts[:200]:
            stored.add(text, text)
        for text in texts[200:]:
            match = stored.first_match(text)
            assert match is None or similarity(match, text) >= 0.9
