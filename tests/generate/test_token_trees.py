"""Rows in which sequences have the prefixes that they share once, and their batches."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.generate.token_trees import batches, padded_length, row_counts, shared_rows

CONTEXT = 96


def ids(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(100, 700, length).tolist()


def members(row) -> list[int]:
    return sorted(path.index for path in row.paths)


def test_one_token_continuations_of_a_context_add_nothing_to_its_row():
    context = ids(0, 70)
    choices = [([*context, token], 70) for token in range(100, 126)]
    (row,) = shared_rows([*choices, ([*context, 110, 7, 9], 70)], CONTEXT, 2048)
    assert (row.tokens, row.length) == (72, 96)
    assert members(row) == list(range(27))


def test_a_row_is_run_again_where_more_is_asked_of_it_than_fits():
    many = [([5, token], 1) for token in range(200)]
    rows = shared_rows(many, CONTEXT, 2048)
    assert len(rows) == 4
    assert all(row.targets == len(row.paths) <= row.length for row in rows)
    assert sorted(index for row in rows for index in members(row)) == list(range(200))


def test_many_answers_share_rows_that_are_at_most_twice_as_long_as_one_needs():
    prompt = ids(0, 100)
    many = [([*prompt, *ids(n, 11)], 100) for n in range(1, 27)]
    rows = shared_rows(many, 4096, 2048)
    assert [(row.length, len(row.paths)) for row in rows] == [(256, 15), (256, 11)]
    assert sum(row.tokens for row in rows) == 2 * 100 + 26 * 10
    # No row is longer than the budget, unless one sequence alone is.
    alone = shared_rows(many, 4096, 128)
    assert {row.length for row in alone} == {128}


def test_a_prompt_that_fills_the_context_is_shared_too():
    prompt = ids(0, 90)
    answers = [([*prompt, *ids(n, 7)], 90) for n in range(1, 3)]
    (row,) = shared_rows(answers, CONTEXT, 2048)
    assert (row.tokens, row.length) == (90 + 2 * 6, 2 * CONTEXT)


def test_a_tree_lists_for_each_token_the_last_one_that_continues_it():
    sequences = [([1, 2, 3, 4], 2), ([1, 2, 5], 2), ([1, 6, 7, 8], 1)]
    (row,) = shared_rows(sequences, CONTEXT, 2048)
    (batch,) = batches([row], 2048)
    tokens, positions, ends, indices, targets, count = batch.arrays()
    assert tokens[0, :6].tolist() == [1, 6, 7, 2, 3, 0]
    assert positions[0, :5].tolist() == [0, 1, 2, 1, 2]
    assert ends[0, :6].tolist() == [4, 2, 2, 4, 4, 5]
    assert [path.index for path in batch.paths] == [2, 0, 1]
    assert indices[:count].tolist() == [0, 1, 2, 3, 4, 3]
    assert targets[:count].tolist() == [6, 7, 8, 3, 4, 5]


def shapes(max_position: int, token_budget: int) -> set[tuple[int, int]]:
    """Every (rows, length) that a batch may have."""
    lengths = {padded_length(length, max_position) for length in range(1, 2 * max_position + 1)}
    return {(count, length) for length in lengths for count in row_counts(length, token_budget)}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 5000), min_size=1, max_size=200), st.integers(1, 8192))
def test_shapes_are_known_and_little_of_them_is_padding(lengths, token_budget):
    sequences = [(range(n, n + length), 1) for n, length in enumerate(lengths)]
    known = shapes(4999, token_budget)
    assert len(known) <= 8 * 9
    made = list(batches(shared_rows(sequences, 4999, token_budget), token_budget))
    assert sorted(path.index for batch in made for path in batch.paths) == list(range(len(lengths)))
    for batch in made:
        assert (batch.count, batch.rows[0].length) in known
        assert batch.count == 1 or batch.count * batch.rows[0].length <= token_budget
        assert len(batch.rows) > batch.count / 2
        assert all(row.length in (4999, 64) or row.length < 2 * row.tokens for row in batch.rows)
