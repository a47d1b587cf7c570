"""Where the next round's attempts go: all of them, the floor kept, most where it is weakest."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vcjax.adversarial.allocation import Posterior, allocate, posteriors
from vcjax.adversarial.cells import Cell

CELLS = [Cell("parks", f"attack{n}", "en", 2, 1) for n in range(6)]


@settings(deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6),
    attempts=st.integers(0, 80),
    floor=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_every_attempt_is_given_and_none_starves(counts, attempts, floor, seed):
    known = {cell: Posterior(*pair) for cell, pair in zip(CELLS, counts, strict=False)}
    shares = allocate(known, attempts, floor=floor, seed=seed)
    assert sum(shares.values()) == attempts
    assert min(shares.values()) >= min(floor, attempts // len(known))
    assert shares == allocate(known, attempts, floor=floor, seed=seed)


def test_the_weakest_cell_gets_most_and_what_is_unknown_is_tried():
    known = {
        CELLS[0]: Posterior(40, 2),
        CELLS[1]: Posterior(2, 40),
        CELLS[2]: Posterior(),
    }
    shares = allocate(known, 400, floor=3, seed=0)
    assert shares[CELLS[0]] > 300
    assert shares[CELLS[1]] == 3
    assert shares[CELLS[2]] > 10


def test_older_rounds_count_less():
    rounds = [
        {CELLS[0]: {"rejected": 8, "accepted": 4, "unscored": 9}},
        {CELLS[0]: {"rejected": 1}, CELLS[1]: {"accepted": 2}},
    ]
    known = posteriors(CELLS[:3], rounds, 0.5)
    assert known[CELLS[0]] == Posterior(8 * 0.5 + 1, 4 * 0.5)
    assert known[CELLS[1]] == Posterior(0, 2)
    assert known[CELLS[2]] == Posterior()
    assert known[CELLS[0]].parameters == (6, 3)
    assert posteriors(CELLS[:1], [], 0.5) == {CELLS[0]: Posterior()}
