"""Digests of a corpus, in a temporary database."""

from vcjax.data.digests import Digests


def test_digests_are_a_set():
    with Digests() as digests:
        added = [digests.add(bytes([n % 3]) * 16) for n in range(6)]
        assert added == [True] * 3 + [False] * 3
        assert [bytes([n]) * 16 in digests for n in range(4)] == [True] * 3 + [False]
