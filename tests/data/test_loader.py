import itertools
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from vcjax.core.errors import UserError
from vcjax.data.loader import Batches, in_order
from vcjax.data.preparation import prepare
from vcjax.data.prepared import open_prepared
from vcjax.data.records import Document


@pytest.fixture(scope="module")
def make(tmp_path_factory, tokenizer):
    """Makes a prepared dataset of `rows` rows, each with one document that begins with `mark`."""
    folder = tmp_path_factory.mktemp("parts")
    numbers = itertools.count()

    def build(mark, rows, length=16, with_tokenizer=tokenizer):
        texts = [f"{mark}{i:0{length - 3}d}" for i in range(rows)]
        records = [Document.from_dict({"text": text, "source": "test"}) for text in texts]
        path = folder / str(next(numbers))
        prepare(path, records, "documents", with_tokenizer, length)
        return open_prepared(path)

    return build


def texts(tokenizer, batch):
    return [tokenizer.decode(row.tolist()) for row in batch["tokens"]]


def assert_same(one, two):
    assert one.keys() == two.keys() == {"tokens", "loss_mask", "segment_ids", "positions"}
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_a_batch_is_a_pure_function_of_seed_and_step(make):
    parts = [(make("a", 23), 1.0), (make("b", 11), 2.0)]
    one, two = Batches(parts, 4, seed=1), Batches(parts, 4, seed=1)
    for step in (7, 0, 100, 7, 3, 12_345_678):
        batch = two.batch(step)
        assert_same(one.batch(step), batch)
        assert batch["tokens"].shape == (4, 16)
        assert batch["tokens"].dtype == np.int32
        assert batch["loss_mask"].dtype == np.bool_


def test_another_seed_gives_another_order(make, tokenizer):
    part = make("a", 40)
    one, two = (Batches([(part, 1.0)], 40, seed).batch(0) for seed in (1, 2))
    assert texts(tokenizer, one) != texts(tokenizer, two)
    assert sorted(texts(tokenizer, one)) == sorted(texts(tokenizer, two))


def test_each_epoch_has_every_row_once_in_an_order_of_its_own(make, tokenizer):
    part = make("a", 24)
    batches = Batches([(part, 1.0)], 6, seed=3)
    rows = [text for step in range(12) for text in texts(tokenizer, batches.batch(step))]
    epochs = [tuple(rows[i : i + 24]) for i in range(0, 72, 24)]
    assert all(len(set(epoch)) == 24 for epoch in epochs)
    assert len(set(epochs)) == 3


def test_the_mixture_has_the_proportions_of_the_weights(make, tokenizer):
    parts = [(make("a", 50), 3.0), (make("b", 7), 1.0), (make("c", 20), 4.0)]
    batches = Batches(parts, 16, seed=0)
    marks = [text[0] for step in range(50) for text in texts(tokenizer, batches.batch(step))]
    for mark, share in (("a", 3 / 8), ("b", 1 / 8), ("c", 4 / 8)):
        assert marks.count(mark) == pytest.approx(share * 800, abs=3)
    in_one = [text[0] for text in texts(tokenizer, batches.batch(5))]
    assert set(in_one) == {"a", "b", "c"}


def test_a_dataset_smaller_than_a_batch_repeats(make, tokenizer):
    batch = Batches([(make("a", 3), 1.0)], 8, seed=0).batch(0)
    assert batch["tokens"].shape == (8, 16)
    assert len(set(texts(tokenizer, batch))) == 3
    assert Batches([(make("a", 1), 1.0)], 2, seed=0).batch(9)["tokens"].shape == (2, 16)


def test_prefetch_resumes_at_any_step_with_the_same_batches(make):
    batches = Batches([(make("a", 23), 1.0), (make("b", 5), 0.5)], 4, seed=1)
    for start in (0, 9):
        stream = batches.prefetch(start)
        for step, batch in itertools.islice(stream, 6):
            assert_same(batch, batches.batch(step))
            start_of_next = step + 1
        assert start_of_next == start + 6
        stream.close()


def test_prefetch_leaves_no_thread_behind_when_it_is_closed(make):
    batches = Batches([(make("a", 5), 1.0)], 2, seed=1)
    before = set(threading.enumerate())
    for _ in range(5):
        stream = batches.prefetch()
        next(stream)
        started = set(threading.enumerate()) - before
        assert started
        stream.close()
        for thread in started:  # what it is doing, it may finish
            thread.join(timeout=60)
            assert not thread.is_alive()


class Noted(Sequence):
    """Rows that remember which of them were read."""

    def __init__(self, rows):
        self.rows, self.read = rows, []

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        self.read.append(index)
        return self.rows[index]


# Places in a batch of 6 that each host reads: of two hosts, of three, and in no order of a mesh.
@pytest.mark.parametrize(
    "hosts", [((0, 1, 2), (3, 4, 5)), ((0, 3), (1, 4), (2, 5)), ((5,), (2, 0))]
)
def test_hosts_read_their_own_rows_of_each_batch_and_no_other(make, hosts):
    parts = [(make("a", 18), 1.0), (make("b", 9), 0.5)]
    whole = Batches(parts, 6, seed=4)
    noted = [[Noted(part.source) for part, _ in parts] for _ in hosts]
    own = [
        Batches(
            [
                (replace(part, source=each), w)
                for (part, w), each in zip(parts, sources, strict=True)
            ],
            6,
            seed=4,
            rows=places,
        )
        for places, sources in zip(hosts, noted, strict=True)
    ]
    for step in (7, 0, 3, 12_345):
        wanted = whole.batch(step)
        for places, batches in zip(hosts, own, strict=True):
            found = batches.batch(step)
            assert_same(found, {name: value[list(places)] for name, value in wanted.items()})
    reads = [sum(len(each.read) for each in sources) for sources in noted]
    assert reads == [4 * len(places) for places in hosts]


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_in_an_epoch_all_hosts_together_read_each_row_once(make, hosts):
    part, each = make("a", 24), 6 // hosts
    sources = [Noted(part.source) for _ in range(hosts)]
    own = [
        Batches([(replace(part, source=source), 1.0)], 6, 2, range(n * each, (n + 1) * each))
        for n, source in enumerate(sources)
    ]
    for epoch in range(3):
        for source in sources:
            source.read.clear()
        # The second half first, as a run does that resumes there.
        for step in (2, 3, 0, 1):
            for batches in own:
                batches.batch(4 * epoch + step)
        assert sorted(index for source in sources for index in source.read) == list(range(24))


def test_hosts_that_resume_have_the_rows_that_they_would_have_had(make):
    part = make("a", 23)
    own = Batches([(part, 1.0)], 4, seed=1, rows=(2, 3))
    stream = own.prefetch(5)
    for step, batch in itertools.islice(stream, 4):
        assert_same(batch, own.batch(step))
    stream.close()


@pytest.mark.parametrize("hosts", [((0, 1), (2, 3)), ((0, 2), (1, 3))])
def test_each_row_is_measured_by_the_host_that_has_its_place(make, hosts):
    part = make("a", 9)
    whole = list(in_order(part, 4))
    assert [count for count, _ in whole] == [4, 4, 1]
    read = []
    for places in hosts:
        source = Noted(part.source)
        own = list(in_order(replace(part, source=source), 4, places))
        for (count, batch), (of_all, wanted) in zip(own, whole, strict=True):
            assert count == of_all
            assert_same(batch, {name: value[list(places)] for name, value in wanted.items()})
        read += source.read[:5] if places == hosts[0] else source.read[:4]
    assert sorted(read) == list(range(9))


def test_mistakes_are_named(make, other_tokenizer):
    part = make("a", 3)
    with pytest.raises(UserError, match="rows of 16 and 20 tokens"):
        Batches([(part, 1.0), (make("b", 3, length=20), 1.0)], 2, seed=0)
    with pytest.raises(UserError, match="different tokenizers"):
        Batches([(part, 1.0), (make("b", 3, with_tokenizer=other_tokenizer), 1.0)], 2, seed=0)
    with pytest.raises(UserError, match="no prepared dataset"):
        Batches([], 2, seed=0)
    with pytest.raises(UserError, match=r"weight: 0\.0"):
        Batches([(part, 0.0)], 2, seed=0)
    with pytest.raises(UserError, match="batch_size: 0"):
        Batches([(part, 1.0)], 0, seed=0)
    with pytest.raises(ValueError, match="negative"):
        Batches([(part, 1.0)], 2, seed=0).batch(-1)
