"""A SIGTERM asks a run to end after the step that it is in."""

import os
import signal
import subprocess
import sys
import threading

from tests.processes import ROOT, rest_of
from vcjax.train.preemption import watched


def test_a_sigterm_is_a_request_and_only_while_it_is_watched_for():
    before = signal.getsignal(signal.SIGTERM)
    with watched() as requested:
        assert not requested(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested(2)
        assert requested(3)
    assert signal.getsignal(signal.SIGTERM) is before
    with watched() as requested:
        assert not requested(1)


def test_a_thread_that_can_not_hear_signals_is_never_asked():
    answers = []

    def run() -> None:
        with watched() as requested:
            answers.append(requested(1))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert answers == [False]


_STEPS = """
from itertools import count
from launch.guard import run
from vcjax.foundation.errors import Preempted
from vcjax.train.preemption import watched

def main():
    with watched() as requested:
        for step in count(1):
            print(step, flush=True)
            if requested(step):
                raise Preempted(f"stopped by SIGTERM at step {step}; the same command continues")

run(main)
"""


def test_a_preempted_script_says_so_in_one_line_and_exits_as_a_signal_would():
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
    process.terminate()
    out, error = rest_of(process)
    assert process.returncode == 128 + signal.SIGTERM
    last = (first + out).split()[-1]
    assert error == f"stopped by SIGTERM at step {last}; the same command continues\n"
