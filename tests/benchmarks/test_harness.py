"""How the bench and its contenders communicate, with contenders that do next to nothing."""

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest

from benchmarks.harness import (
    MOST_STEPS,
    ContenderFailed,
    Entry,
    Worker,
    rate_ratio,
    spread,
    take_turns,
)

HEAD = "import os, sys, time\nfrom benchmarks.serve import Contender, serve\n"
COUNTS = """
    count = asked["start"]
    def step():
        nonlocal count
        count += 1
        print("step", count)
        return count
    return Contender(step, {"python": sys.executable}, lambda: count)
"""


@pytest.fixture
def contender(monkeypatch, tmp_path) -> Callable[..., Worker]:
    """Makes a worker from the body of its `setup(asked)`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(body: str, name: str = "made") -> Worker:
        code = f"{HEAD}\ndef setup(asked):\n{indent(dedent(body), '    ')}\nserve(setup)\n"
        (tmp_path / f"{name}.py").write_text(code)
        return Worker(Entry(name, Path(sys.executable), name, {"start": 5}), tmp_path / "log")

    return make


def test_a_contender_is_set_up_once_and_runs_the_steps_asked_for(contender, tmp_path):
    with contender(COUNTS) as worker:
        assert worker.ready["losses"] == [6, 7]
        assert worker.ready["facts"] == {"python": sys.executable}
        assert worker.ready["first_step_seconds"] >= 0
        first, second = worker.turn(), worker.turn()
        assert len(first) == len(second) == MOST_STEPS
        assert min(first) >= 0
        assert worker.stop() == 5 + 2 + 2 * (1 + MOST_STEPS)
    assert (tmp_path / "log").read_text().splitlines()[0] == "step 6"  # not among the answers


def test_peak_memory_is_that_of_the_contender_alone(contender):
    ballast = bytearray(300_000_000)
    with contender("return Contender(lambda: None)") as worker:
        assert 1_000_000 < worker.stop() < len(ballast)


def test_contenders_take_turns(contender):
    with contender(COUNTS, "one") as one, contender(COUNTS, "other") as other:
        rounds = take_turns([one, other], 2)
        assert (one.stop(), other.stop()) == (5 + 2 + 2 * (1 + MOST_STEPS),) * 2
    assert [list(each) for each in rounds] == [["one", "other"]] * 2


def test_a_contender_that_cannot_be_set_up_says_why(contender):
    failures = {
        "raise ValueError('no such kernel\\nand more')": "ValueError: no such kernel",
        "import nowhere": "ModuleNotFoundError: No module named 'nowhere'",
        "sys.exit('gave up')": "gave up",
        "os._exit(3)": "the process ended with exit code 3",
        "os.kill(os.getpid(), 9)": "the process was killed: out of memory?",
    }
    for body, reason in failures.items():
        with pytest.raises(ContenderFailed) as failed, contender(body):
            pass
        assert (failed.value.name, failed.value.reason) == ("made", reason)


def test_a_contender_that_dies_later_says_so(contender):
    body = """
    count = 0
    def step():
        nonlocal count
        count += 1
        if count > 2:
            raise RuntimeError("out of luck")
    return Contender(step)
    """
    with contender(body) as worker:
        with pytest.raises(ContenderFailed, match="made: RuntimeError: out of luck"):
            worker.turn()
        with pytest.raises(ContenderFailed, match="made: "):
            worker.turn()


def test_no_process_is_left_behind(contender):
    with contender(COUNTS) as worker:
        process = worker._process
        assert process.poll() is None
    assert process.poll() is not None


def test_a_ratio_is_taken_within_each_round():
    rounds = [{"a": 1.0, "b": 2.0}, {"a": 10.0, "b": 15.0}, {"a": 2.0, "b": 6.0}, {"a": 1.0}]
    assert rate_ratio(rounds, "a", "b") == {
        "median": 2.0,
        "low": 1.5,
        "high": 3.0,
        "values": [2.0, 1.5, 3.0],
    }
    assert spread([3.0, 1.0, 2.0])["median"] == 2.0
