"""A SIGTERM or Ctrl-C asks a run to end after the step that it is in."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.processes import ROOT, rest_of
from vcjax.train.stopping import stop_requests


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_and_only_while_it_is_watched_for(number):
    before = signal.getsignal(number)
    with stop_requests() as requested:
        assert not requested(1)
        os.kill(os.getpid(), number)
        assert requested(2) is number
        assert requested(3) is number
    assert signal.getsignal(number) is before
    with stop_requests() as requested:
        assert not requested(1)


def test_who_presses_ctrl_c_twice_does_not_wait_for_the_step():
    with stop_requests() as requested:
        os.kill(os.getpid(), signal.SIGINT)
        assert requested(1) is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_that_can_not_hear_signals_is_never_asked():
    answers = []

    def run() -> None:
        with stop_requests() as requested:
            answers.append(requested(1))

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
            if number := requested(step):
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
