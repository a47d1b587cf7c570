import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packed import pack
from vcjax.core.errors import UserError
from vcjax.data.packing import OPEN_ROWS, Example

sizes = st.lists(st.integers(2, 40), min_size=1, max_size=60)
lengths = st.integers(2, 24)


def examples_of(sizes, mask=None):
    """Examples whose tokens are all different, so that each can be followed."""
    starts = np.cumsum([1, *sizes])
    return [
        Example(
            np.arange(start, start + size, dtype=np.int32),
            np.ones(size, np.bool_) if mask is None else mask(start, size),
        )
        for start, size in zip(starts, sizes, strict=False)
    ]


def segments(rows):
    """(tokens, mask, positions) of every segment, row by row."""
    for row in range(len(rows["tokens"])):
        ids = rows["segment_ids"][row]
        for segment in range(1, ids.max(initial=0) + 1):
            place = ids == segment
            yield tuple(rows[name][row][place] for name in ("tokens", "loss_mask", "positions"))


@settings(max_examples=100, deadline=None)
@given(sizes, lengths)
def test_no_token_of_a_document_is_lost_or_repeated(sizes, length):
    packed = pack(examples_of(sizes), length, split_long=True)
    real = packed.rows["segment_ids"] > 0
    assert sorted(packed.rows["tokens"][real]) == list(range(1, sum(sizes) + 1))
    assert packed.summary["tokens"] == sum(sizes)
    assert packed.summary["dropped"] == packed.summary["truncated"] == 0
    assert packed.summary["split"] == sum(size > length for size in sizes)


@settings(max_examples=100, deadline=None)
@given(sizes, lengths, st.booleans())
def test_rows_are_contiguous_segments_then_padding(sizes, length, split_long):
    rows = pack(examples_of(sizes), length, split_long=split_long).rows
    assert {name: value.dtype for name, value in rows.items()} == {
        "tokens": np.int32,
        "loss_mask": np.bool_,
        "segment_ids": np.int32,
        "positions": np.int32,
    }
    for ids in rows["segment_ids"]:
        real = ids[ids > 0]
        assert (ids[: len(real)] == real).all()  # padding is at the end only
        assert real[0] == 1
        assert set(np.diff(real)) <= {0, 1}
    padding = rows["segment_ids"] == 0
    for name in ("tokens", "loss_mask", "positions"):
        assert not rows[name][padding].any()
    for tokens, mask, positions in segments(rows):
        assert (positions == np.arange(len(positions))).all()
        assert (np.diff(tokens) == 1).all()  # a piece is a run of one example
        assert not mask[0]
        assert mask[1:].all()


@settings(max_examples=100, deadline=None)
@given(sizes, lengths)
def test_the_mask_stays_with_its_token_and_long_conversations_lose_their_end(sizes, length):
    def odd(start, size):
        return np.arange(start, start + size) % 2 == 1

    examples = examples_of(sizes, odd)
    packed = pack(examples, length, split_long=False)
    kept = [e for e in examples if e.loss_mask[1:length].any()]
    expected = sorted(token for e in kept for token in e.ids[:length])
    real = packed.rows["segment_ids"] > 0
    assert sorted(packed.rows["tokens"][real]) == expected
    for tokens, mask, _ in segments(packed.rows):
        assert (mask[1:] == (tokens[1:] % 2 == 1)).all()
    summary = packed.summary
    assert summary["dropped"] == len(examples) - len(kept)
    assert summary["truncated"] == sum(len(e.ids) > length for e in kept)
    assert summary["loss_tokens"] == packed.rows["loss_mask"].sum()
    assert summary["fill"] == pytest.approx(real.mean() if real.size else 0.0)


def test_packing_is_deterministic_and_fills_well():
    sizes = np.random.default_rng(0).integers(5, 400, 3000).tolist()
    one = pack(examples_of(sizes), 512, split_long=True)
    two = pack(examples_of(sizes), 512, split_long=True)
    for name in one.rows:
        np.testing.assert_array_equal(one.rows[name], two.rows[name])
    assert one.summary == two.summary
    assert one.summary["fill"] > 0.97
    assert one.summary["rows"] * 512 < sum(sizes) + 512 * OPEN_ROWS


def test_an_example_without_a_token_to_predict_is_dropped():
    late = Example(np.arange(8, dtype=np.int32), np.arange(8) == 7)
    first_only = Example(np.arange(8, dtype=np.int32), np.arange(8) == 0)
    packed = pack([late, first_only], 4, split_long=False)
    assert packed.rows["tokens"].shape == (0, 4)
    assert packed.summary["dropped"] == 2
    assert packed.summary["truncated"] == 0
    assert packed.summary["fill"] == 0.0


def test_ids_and_mask_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="must be alike"):
        Example(np.zeros(3, np.int32), np.zeros(2, np.bool_))


def test_a_row_of_one_token_is_refused():
    with pytest.raises(UserError, match="length: 1 is too short"):
        pack([], 1, split_long=True)
