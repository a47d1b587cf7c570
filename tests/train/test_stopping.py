"""Early stopping as a law over sequences of losses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcjax.train.stopping import EarlyStopping

LOSSES = st.lists(st.integers(0, 5).map(float) | st.sampled_from([None, math.nan, math.inf]))


def until_stopped(patience, losses):
    """Takes losses as a run would: none after it has stopped."""
    stopping = EarlyStopping.after(patience, [])
    for step, loss in enumerate(losses):
        if stopping.stopped is not None:
            break
        stopping.add(step, loss)
    return stopping


@given(st.integers(1, 4), LOSSES)
def test_a_run_stops_at_the_first_measurement_that_ends_a_stretch_without_a_lower_loss(
    patience, losses
):
    finite = [math.inf if loss is None or math.isnan(loss) else loss for loss in losses]

    def ends(step: int) -> bool:
        window = range(step - patience + 1, step + 1)
        return window[0] >= 0 and all(
            finite[now] >= min(finite[:now], default=math.inf) for now in window
        )

    expected = next((step for step in range(len(losses)) if ends(step)), None)
    assert until_stopped(patience, losses).stopped == expected


@given(st.integers(0, 4), LOSSES, st.data())
def test_a_run_that_resumes_stops_where_one_that_was_left_alone_does(patience, losses, data):
    whole = until_stopped(patience, losses)
    taken = losses if whole.stopped is None else losses[: whole.stopped + 1]
    cut = data.draw(st.integers(0, len(taken)))
    resumed = EarlyStopping.after(patience, enumerate(taken[:cut]))
    for step, loss in enumerate(taken[cut:], start=cut):
        resumed.add(step, loss)
    assert resumed == whole


@given(LOSSES)
def test_without_patience_a_run_never_stops_but_the_lowest_loss_is_known(losses):
    stopping = until_stopped(0, losses)
    assert stopping.stopped is None
    finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    assert stopping.best_loss == min(finite, default=None)
    if finite:
        assert stopping.best_step == losses.index(min(finite))


def test_nothing_is_measured_after_the_stop():
    stopping = EarlyStopping.after(1, [(0, 1.0), (5, 2.0)])
    assert (stopping.stopped, stopping.best_step) == (5, 0)
    with pytest.raises(ValueError, match="step 10, but the run stopped at 5"):
        stopping.add(10, 0.5)
