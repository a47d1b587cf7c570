"""An engine on each device gives the tokens of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapted import write_run
from tests.compilation import with_devices
from vcjax.model.lora import LoraConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tiny_folder, tmp_path_factory) -> dict:
    run = tmp_path_factory.mktemp("runs") / "one"
    write_run(run, tiny_folder, LoraConfig(2, 8.0, "q|v|down"))
    command = [sys.executable, "-m", "tests.distributed.engine_copies", str(tiny_folder), str(run)]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": with_devices(8)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_each_request_gets_what_one_engine_gives_it_to_the_bit(report):
    assert report["alone"] == 1
    assert report["equal"] == [True] * 24


def test_every_device_has_an_engine(report):
    assert report["devices"] == report["local"] == 8
    assert sum(report["requests"]) == 8 + 24  # each has made one to compile


def test_adapters_share_their_base_on_each_device(report):
    assert report["pooled"]["shared"] == [True, True]
    assert report["pooled"]["share_of_weights"] < 0.2


def test_a_servers_scores_are_made_by_all_of_them_and_are_those_of_one(report):
    assert report["served"]["equal"]
    # Which engine takes which piece is decided by who is free.
    assert report["served"]["devices"] > 1


def test_a_model_of_two_copies_is_called_from_python_as_one(report):
    alike = {"texts": True, "answers": True, "pairs": True}
    assert report["from_python"] == {"devices": 2, **alike}


def test_texts_are_scored_by_all_of_them_to_the_bit(report):
    assert report["scored"] == {"equal": True, "devices": 8}
