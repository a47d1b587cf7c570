"""What has been seen of a corpus is kept on disk, as digests."""

from vcjax.data.digests import Digests


def test_digests_are_a_set():
    with Digests() as seen:
        added = [seen.add(bytes([n % 3]) * 16) for n in range(6)]
        assert added == [True] * 3 + [False] * 3
        assert [bytes([n]) * 16 in seen for n in range(4)] == [True] * 3 + [False]
