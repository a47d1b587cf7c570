"""A run belongs to one config and to one process at a time, and finishes once."""

import subprocess
import sys
from pathlib import Path

import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import Parent, read_lineage
from vcjax.core.run import Run, Stage, explained

CONFIG = {"model": "m", "steps": 10, "optimizer": {"rate": 0.1, "betas": (0.9, 0.95)}}


def _run(workdir, config, extendable=()):
    with Run("test", workdir, config, extendable=extendable).opened() as folder:
        return read_json(folder / "config.json")


def test_the_config_is_recorded_and_the_same_one_reopens(tmp_path):
    first = _run(tmp_path / "new" / "run", CONFIG)
    assert first["optimizer"]["betas"] == [0.9, 0.95]
    assert _run(tmp_path / "new" / "run", CONFIG) == first


def test_another_config_is_refused_with_the_difference(tmp_path):
    _run(tmp_path, CONFIG)
    other = {**CONFIG, "optimizer": {"rate": 0.2, "betas": (0.9, 0.95)}, "seed": 1}
    with pytest.raises(UserError) as caught:
        _run(tmp_path, other)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: belongs to a run of another config (")
    assert "optimizer.rate: 0.1 -> 0.2; seed: None -> 1" in message
    assert "betas" not in message
    assert "\n" not in message
    assert read_json(tmp_path / "config.json")["optimizer"]["rate"] == 0.1
    many = {f"a{i:02}": i for i in range(30)}
    with pytest.raises(
        UserError, match=r"run of another config \(optimizer.rate: 0.1 -> 0.2; .* -> "
    ):
        _run(tmp_path, {**other, **many})
    with pytest.raises(UserError, match=r"; a10: None -> 10; and 20 more\); choose"):
        _run(tmp_path, {**many, **other})


def test_an_extendable_field_may_grow_but_not_shrink(tmp_path):
    _run(tmp_path, CONFIG, ("steps",))
    assert _run(tmp_path, {**CONFIG, "steps": 20}, ("steps",))["steps"] == 20
    with pytest.raises(UserError, match="steps: 20 -> 15"):
        _run(tmp_path, {**CONFIG, "steps": 15}, ("steps",))
    with pytest.raises(UserError, match="steps: 20 -> 'a,b'"):
        _run(tmp_path, {**CONFIG, "steps": "a,b"}, ("steps",))
    with pytest.raises(UserError, match="steps: 20 -> 30"):
        _run(tmp_path, {**CONFIG, "steps": 30})


def test_a_run_of_a_version_without_a_field_continues_with_the_value_that_changes_nothing(tmp_path):
    _run(tmp_path, CONFIG)
    added = {**CONFIG, "columns": "", "sft": {"tool_turns": "leave_out"}}
    assert _run(tmp_path, added)["columns"] == ""
    with pytest.raises(UserError, match=r"columns: '' -> 'text:body'"):
        _run(tmp_path, {**added, "columns": "text:body"})


def test_an_unused_folder_takes_any_config(tmp_path):
    Run("test", tmp_path, CONFIG).check()
    assert not list(tmp_path.iterdir())


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vcjax.core.errors import UserError\n"
        "from vcjax.core.run import Run\n"
        "try:\n"
        "    with Run('test', Path(sys.argv[1]), {'steps': 1}).opened(): print('in')\n"
        "except UserError as error: print(error)\n"
    )

    def other_process() -> str:
        command = [sys.executable, "-c", script, str(tmp_path)]
        root = Path(__file__).parents[2]
        return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip()

    with Run("test", tmp_path, {"steps": 1}).opened():
        assert other_process() == f"{tmp_path}: another run is using it"
    assert other_process() == "in"


def test_the_lock_is_released_by_an_exception(tmp_path):
    def fail() -> None:
        with Run("test", tmp_path, CONFIG).opened():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    _run(tmp_path, CONFIG)


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; a workdir is a folder"):
        _run(tmp_path / "file", CONFIG)


def _finish(run: Run, **summary) -> None:
    with run.opened() as folder:
        write_json(folder / "summary.json", summary)
        run.finish([])


def test_a_finished_run_returns_its_result_and_reports_it(tmp_path, capsys):
    run = Run("train", tmp_path / "run", CONFIG, seed=4)
    assert run.finished() is None
    assert not run.workdir.exists()
    _finish(run, steps=10)
    assert Run("train", tmp_path / "run", CONFIG).finished(count="steps") == {"steps": 10}
    assert capsys.readouterr().out == f"{tmp_path / 'run'}: already finished (10 steps)\n"
    lineage = read_lineage(run.workdir)
    assert (lineage["kind"], lineage["seed"]) == ("train", 4)


def test_raising_an_extendable_field_continues_a_finished_run(tmp_path):
    _finish(Run("train", tmp_path, CONFIG, extendable=["steps"]))
    longer = Run("train", tmp_path, {**CONFIG, "steps": 20}, extendable=["steps"])
    assert longer.finished() is None
    with longer.opened():  # and is stopped: neither the old nor the new run is finished now
        pass
    assert not (tmp_path / "lineage.json").exists()


def test_raising_a_deferred_field_alone_does_not_continue_a_finished_run(tmp_path, capsys):
    fields = {"extendable": ["rounds"], "deferred": ["steps"]}
    _finish(Run("rounds", tmp_path, {"rounds": 1, "steps": 1}, **fields), best=5)
    raised = Run("rounds", tmp_path, {"rounds": 1, "steps": 2}, **fields)
    assert raised.finished() == {"best": 5}
    assert "to use the new steps, raise config.rounds too" in capsys.readouterr().out
    assert Run("rounds", tmp_path, {"rounds": 2, "steps": 2}, **fields).finished() is None


def test_a_free_section_may_change_in_any_way_and_continues_a_finished_run(tmp_path):
    _finish(Run("ablate", tmp_path, {"seed": 1, "arms": [{"name": "a"}]}, free=["arms"]))
    assert read_json(tmp_path / "config.json") == {"seed": 1}
    other = Run("ablate", tmp_path, {"seed": 1, "arms": [{"name": "b"}]}, free=["arms"])
    assert other.finished() is None
    with pytest.raises(UserError, match="seed: 1 -> 2"):
        Run("ablate", tmp_path, {"seed": 2, "arms": []}, free=["arms"]).finished()


def _stages(folder: Path, text: str, done: list[str]) -> list[Stage]:
    def make(name: str) -> str:
        done.append(name)
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "file").write_text(text if name == "first" else name)
        return name

    return [
        Stage("first", lambda: make("first"), about="makes it"),
        Stage("second", lambda: make("second"), reads=("first",)),
        Stage("third", lambda: make("third")),
    ]


def test_stages_are_done_in_order_and_a_changed_one_has_what_it_was_read_by_made_anew(
    tmp_path, capsys
):
    done: list[str] = []
    run = Run("demo", tmp_path, {})
    with run.opened() as folder:
        results = run.do(_stages(folder, "one", done))
    assert results == {name: name for name in ("first", "second", "third")}
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] first: makes it",
        "[2/3] second",
        "[3/3] third",
    ]
    (tmp_path / "third" / "mark").touch()
    with run.opened() as folder:
        run.do(_stages(folder, "two", done))
    assert done == ["first", "second", "third"] * 2
    assert set(run.seconds) == set(results)
    assert (tmp_path / ".second.superseded" / "file").read_text() == "second"
    assert (tmp_path / "third" / "mark").exists()


def test_from_a_minute_on_a_stage_is_announced_with_the_time_so_far_and_left(tmp_path, capsys):
    names = ("base/measured", "a/seed0/train1", "a/seed0/measured", "b/seed0/train1", "c/train2")
    write_json(tmp_path / "seconds.json", dict.fromkeys(names[:3], 60.0))
    stages = explained([Stage(name, bool) for name in names], {"measured": "m", "train": "t"})
    run = Run("ablate", tmp_path, {})
    with run.opened():
        run.do(stages)
    assert capsys.readouterr().out.splitlines() == [
        "[1/5] base/measured: m",
        "[2/5] a/seed0/train1: t (01:00 so far)",
        "[3/5] a/seed0/measured: m (02:00 so far, 03:00 left)",
        "[4/5] b/seed0/train1: t (03:00 so far, 02:00 left)",
        "[5/5] c/train2: t (03:00 so far, 00:30 left)",
    ]


def test_seconds_of_stages_add_up_over_starts_and_those_of_earlier_versions_count(tmp_path):
    write_json(tmp_path / "seconds.json", {"first": 1000.0})
    run = Run("ablate", tmp_path, {})
    for _ in range(2):
        with run.opened() as folder:
            run.do(_stages(folder, "one", []))
    assert run.seconds["first"] > 1000
    assert run.seconds["second"] < 1000


def test_a_finished_run_continues_once_an_input_has_changed_under_its_path(tmp_path, capsys):
    model, workdir = tmp_path / "model", tmp_path / "run"
    write_json(model, {"weights": 1})

    def made():
        run = Run("test", workdir, CONFIG, renewing=["critic"])
        if (found := run.finished(result="config.json")) is not None:
            return found
        with run.opened():
            run.finish([Parent.of("critic2", model)])
        return None

    assert made() is None
    assert made() is not None
    assert "already finished" in capsys.readouterr().out
    write_json(model, {"weights": 2})
    assert made() is None
    assert f"{model} has changed since the run was finished" in capsys.readouterr().out
    assert made() is not None
    model.unlink()  # nobody knows whether it has changed
    assert made() is not None
