"""`launch/pod.sh` on a slice of two hosts that are folders, with a stand-in for gcloud.

Two that really train together are in `tests/slow/test_pod.py`.
"""

import subprocess
import time

import pytest

from tests.processes import ROOT
from tests.slices import Slice, program

TRAIN = ("--", "launch.train", "--config=configs/sft.py:8b", "--workdir=gs://bucket/run")


@pytest.fixture
def two_hosts(tmp_path) -> Slice:
    return Slice(tmp_path / "slice", hosts=2)


@pytest.fixture
def python(tmp_path):
    """A function that makes the hosts' `--python` a script of these lines."""

    def make(lines: str) -> str:
        return f"--python={program(tmp_path / 'python', f'#!/usr/bin/env bash{chr(10)}{lines}')}"

    return make


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, error = process.communicate(timeout=120)
    return process.returncode, out, error


def test_a_dry_run_prints_every_command_and_runs_none(two_hosts):
    code, out, error = ended(
        two_hosts.pod("--dry_run", "--results=back", *TRAIN, "--config.model=gs://bucket/a b")
    )
    assert (code, error, two_hosts.calls) == (0, "", [])
    steps = ("describe slice", "tar", "scp", "pip install", "--worker=I", "rsync")
    places = [out.index(step) for step in steps]
    assert places == sorted(places)
    assert "create" not in out
    assert not (two_hosts.folder / "logs").exists()


def test_every_host_gets_the_checkout_and_runs_the_command(two_hosts, python):
    store = two_hosts.folder / "store" / "bucket" / "run"
    (store / "checkpoints").mkdir(parents=True)
    (store / "summary.json").write_text("{}")
    shows = python('echo "process $JAX_PROCESS_ID of $JAX_NUM_PROCESSES in ${PWD##*/}: $*"')
    code, out, error = ended(two_hosts.pod(shows, f"--results={store.parent}/back", *TRAIN))
    assert code == 0, out + error
    for host in range(2):
        checkout = two_hosts.folder / str(host) / "vcjax"
        assert (checkout / "launch" / "train.py").is_file()
        assert (checkout / "requirements" / "run.txt").is_file()
        assert not (checkout / "tests").exists()
        command = "-m launch.train --distributed --config=configs/sft.py:8b"
        expected = f"process {host} of 2 in vcjax: {command} --workdir=gs://bucket/run\n"
        assert two_hosts.log(host) == expected
    back = store.parent / "back"
    assert [path.name for path in back.iterdir()] == ["summary.json"]


def test_a_lost_host_is_waited_for_and_all_start_again(two_hosts, python):
    """What was on it is gone: it gets the checkout again."""
    first = python(
        'echo start >>"$SLICE/$JAX_PROCESS_ID.starts"\n'
        '[ "$(wc -l <"$SLICE/$JAX_PROCESS_ID.starts")" = 1 ] || exit 0\n'
        # Once the other has begun, whose first start this would otherwise end before it is counted.
        'until [ -s "$SLICE/0.starts" ]; do sleep 0.05; done\n'
        '[ "$JAX_PROCESS_ID" = 0 ] || { echo PREEMPTED >"$SLICE/state"; rm -rf "$SLICE/1"; }\n'
        "[ $JAX_PROCESS_ID = 0 ] && exit 1 || exit 143"
    )
    process = two_hosts.pod(first, *TRAIN)
    assert process.stderr is not None
    told = []
    while not told or "waiting until it is READY" not in told[-1]:
        line = process.stderr.readline()
        assert line, told
        told.append(line)
    two_hosts.become("READY")
    code, _, error = ended(process)
    assert code == 0, [*told, error]
    assert "slice is PREEMPTED" in told[-1]
    assert (two_hosts.folder / "1" / "vcjax" / "launch").is_dir()
    for host in range(2):
        assert (two_hosts.folder / f"{host}.starts").read_text() == "start\nstart\n"


def test_a_host_that_goes_on_without_the_others_is_stopped(two_hosts, python):
    waits = python(
        '[ -e "$SLICE/was" ] && exit 0\n'
        'if [ "$JAX_PROCESS_ID" = 1 ]; then\n'
        '    trap "touch $SLICE/was; exit 143" TERM; touch "$SLICE/waits"\n'
        "    while :; do sleep 0.1; done\n"
        "fi\n"
        'until [ -e "$SLICE/waits" ]; do sleep 0.1; done; exit 255'
    )
    code, _, error = ended(two_hosts.pod(waits, "--grace=0", *TRAIN))
    assert code == 0, error
    assert "stopping the hosts that go on without those that ended" in error
    assert "host 1 ended with 143" in error


def test_a_request_for_the_hosts_that_fails_is_made_again(two_hosts, python):
    (two_hosts.folder / "hiccup").touch()
    code, _, error = ended(two_hosts.pod(python("exit 0"), *TRAIN))
    assert code == 0, error
    assert "can't be counted now; trying again" in error
    assert "start 1 on 2 host(s)" in error


def test_a_mistake_ends_at_once(two_hosts, python):
    found, _, error = ended(two_hosts.pod(python("exit 2"), *TRAIN))
    assert found == 2
    assert error.count("start ") == 1


def test_stopped_it_stops_the_hosts_which_save_first(two_hosts, python):
    waits = python(
        'trap "echo saved; exit 143" TERM; touch "$SLICE/waits-$JAX_PROCESS_ID"\n'
        "while :; do sleep 0.1; done"
    )
    process = two_hosts.pod(waits, *TRAIN)
    while not all((two_hosts.folder / f"waits-{host}").exists() for host in range(2)):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    code, _, error = ended(process)
    assert code == 143
    assert "stopping all hosts; the same command continues" in error
    assert [two_hosts.log(host) for host in range(2)] == ["saved\n"] * 2


def test_it_gives_up(two_hosts, python):
    code, _, error = ended(two_hosts.pod(python("exit 143"), "--restarts=0", *TRAIN))
    assert code == 1
    assert error.count("start ") == 1
    assert "gave up after 0 restarts" in error


MISTAKES = {
    "name the slice and its zone": [],
    "unknown option --dryrun": ["slice", "zone", "--dryrun", *TRAIN],
    "only launch.train runs": ["slice", "zone", "--", "launch.demo"],
    "after the options, --": ["slice", "zone"],
    "--workdir: is missing": ["slice", "zone", "--", "launch.train"],
    "--distributed: is given here": ["slice", "zone", *TRAIN, "--distributed"],
    "copies from gs://": ["a", "b", "--results=x", "--", "launch.train", "--workdir=/mnt/run"],
    "'many' is no number": ["slice", "zone", "--restarts=many", *TRAIN],
    "slice in zone: ERROR: NOT_FOUND": ["slice", "zone", *TRAIN],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_one_line(two_hosts, message):
    two_hosts.become("")
    command = [str(ROOT / "launch" / "pod.sh"), *MISTAKES[message]]
    ended = subprocess.run(
        command, cwd=two_hosts.folder, env=two_hosts.environment, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
