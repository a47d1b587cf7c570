import json

import pytest

from benchmarks.results import (
    NAME,
    Bound,
    check_bounds,
    circumstances,
    read_record,
    require,
    write_section,
)
from vcjax.core.errors import GateNotMet, UserError


def test_a_section_takes_the_place_of_its_earlier_one_alone(tmp_path):
    write_section(tmp_path, "train", {"cases": [1]})
    write_section(tmp_path, "data", {"tokens": 2})
    write_section(tmp_path, "train", {"cases": [3]})
    assert read_record(tmp_path) == {"train": {"cases": [3]}, "data": {"tokens": 2}}
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_file_that_is_no_record_is_named_and_left_alone(tmp_path):
    assert read_record(tmp_path) == {}
    (tmp_path / NAME).write_text("[1]")
    with pytest.raises(UserError, match=f"{NAME}: not a record of benches"):
        write_section(tmp_path, "data", {})
    (tmp_path / NAME).write_text("{")
    with pytest.raises(UserError, match=f"{NAME}:1: not JSON"):
        read_record(tmp_path)
    assert (tmp_path / NAME).read_text() == "{"


def test_circumstances_say_when_how_and_on_what(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/launch/bench.py", "--what=train", "--rounds=2"])
    about = json.loads(json.dumps(circumstances()))
    assert about["command"] == "python -m launch.bench train --rounds=2"
    assert about["date"].endswith("+00:00")
    machine = about["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_bytes"] > 1e9
    assert {"processor", "load", "jax", "jaxlib", "python", "vcjax"} <= machine.keys()


def test_bounds_concern_what_was_measured():
    bounds = [
        Bound("rate", least=0.55),
        Bound("rate", least=0.75, must=False),
        Bound("memory", most=1.0),
        Bound("another", least=1.0),
    ]
    told = check_bounds(bounds, {"rate": 0.6, "memory": 1.0})
    assert [(one["figure"], one["met"]) for one in told] == [
        ("rate", True),
        ("rate", False),
        ("memory", False),
    ]
    with pytest.raises(GateNotMet, match=r"^memory is 1, must be below 1$"):
        require(told)
    require(check_bounds(bounds, {"rate": 0.55, "memory": 0.9}))  # an aim isn't a bound
    with pytest.raises(GateNotMet, match=r"rate is 0\.5, must be 0\.55 or more"):
        require(check_bounds(bounds, {"rate": 0.5}))
