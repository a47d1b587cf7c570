"""What ends a run early: early stopping on sequences of losses, and signals."""

import math
import os
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import ROOT, rest_of
from vcjax.train.stopping import EarlyStopping, stop_requests

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_and_only_while_it_is_watched_for(number):
    before = signal.getsignal(number)
    with stop_requests() as requested:
        assert not requested()
        os.kill(os.getpid(), number)
        assert requested() is number
        assert requested() is number
    assert signal.getsignal(number) is before
    with stop_requests() as requested:
        assert not requested()


def test_who_presses_ctrl_c_twice_does_not_wait_for_the_step():
    with stop_requests() as requested:
        os.kill(os.getpid(), signal.SIGINT)
        assert requested() is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_that_can_not_hear_signals_is_never_asked():
    answers = []

    def run() -> None:
        with stop_requests() as requested:
            answers.append(requested())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert answers == [None]


_STEPS = """
from itertools import count
from vcjax.core.script import run
from vcjax.core.errors import Preempted
from vcjax.train.stopping import stop_requests

def main():
    with stop_requests() as requested:
        for step in count(1):
            print(step, flush=True)
            if number := requested():
                raise Preempted(f"stopped by {number.name} at step {step}", number)

run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_preempted_script_says_so_in_one_line_and_exits_as_a_signal_would(number):
    process = subprocess.Popen(
        [sys.executable, "-c", _STEPS],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first == "1\n"
    process.send_signal(number)
    out, error = rest_of(process)
    assert process.returncode == 128 + number
    last = (first + out).split()[-1]
    assert error.splitlines()[-1] == f"stopped by {number.name} at step {last}"
