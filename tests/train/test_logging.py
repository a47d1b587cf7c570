"""What a run logs while it trains, and which records are kept after a kill."""

import json
import math
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from vcjax.core.errors import GateNotMet
from vcjax.train.logging import (
    Log,
    curves,
    finite,
    read_lines,
    read_metrics,
    summarise,
)

GROUPS = {"en/law": {"loss": 1.0, "count": 3}}


def events(workdir: Path) -> list[Event]:
    """What TensorBoard would read: length, its checksum, an event, its checksum."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data, start = path.read_bytes(), 0
        while start < len(data):
            (size,) = struct.unpack_from("<Q", data, start)
            found.append(Event.FromString(data[start + 12 : start + 12 + size]))
            start += size + 16
    return found


def write(workdir: Path, done: int, steps: range) -> None:
    with Log(workdir, done) as log:
        for step in steps:
            log.write({"step": step, "loss": 1 / step, "grad_norm": math.nan})
            log.write_validation({"step": step, "loss": 1.0, "groups": GROUPS})
            log.write_samples(step, ["为什么？"], ["因为。\u2028\n"])


def test_a_resumed_log_goes_on_after_the_steps_that_count(tmp_path):
    write(tmp_path, 0, range(1, 5))
    names = ("metrics.jsonl", "validation.jsonl", "samples.jsonl")
    whole = {name: (tmp_path / name).read_bytes() for name in names}
    # A kill leaves half a line, here in the middle of a character.
    for name in names:
        with (tmp_path / name).open("ab") as stream:
            stream.write('{"step": 5, "answer": "因'.encode()[:-1])
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4]
    write(tmp_path, 2, range(3, 5))
    assert {name: (tmp_path / name).read_bytes() for name in names} == whole


def test_nothing_counts_before_the_first_checkpoint(tmp_path):
    with Log(tmp_path, 0) as log:
        log.write_validation({"step": 0, "loss": 2.0})
    assert read_lines(tmp_path / "validation.jsonl", 0) == []
    with Log(tmp_path, 0) as log:
        log.write_validation({"step": 0, "loss": 2.0})
    assert [line["step"] for line in read_lines(tmp_path / "validation.jsonl")] == [0]


def test_a_run_without_measurements_has_no_files_for_them(tmp_path):
    with Log(tmp_path, 0) as log:
        log.write({"step": 1, "loss": 1.0})
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "tensorboard"}


def test_what_is_not_finite_is_null_in_the_file_and_has_no_point_on_a_curve(tmp_path):
    write(tmp_path, 0, range(1, 2))
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail)["grad_norm"] is None
    assert finite({"a": [], "b": {"c": math.inf}}) == {"a": [], "b": {"c": None}}
    assert dict(curves({"step": 1, "loss": math.inf, "skipped": 1})) == {"skipped": 1}


def test_tensorboard_has_the_curves_and_the_texts_and_drops_steps_that_are_done_again(tmp_path):
    write(tmp_path, 0, range(1, 3))
    write(tmp_path, 1, range(2, 3))
    found = events(tmp_path)
    values = {
        (value.tag.removesuffix("/text_summary"), event.step): value
        for event in found
        for value in event.summary.value
    }
    curve_names = ("loss", "validation/loss", "validation/groups/en/law/loss")
    assert {name for name, _ in values} == {*curve_names, "samples/1"}
    assert values["loss", 2].simple_value == 0.5
    (text,) = values["samples/1", 1].tensor.string_val
    assert text.decode() == "**为什么？**\n\n因为。\u2028\n"
    starts = [event.step for event in found if event.session_log.status == 1]
    assert starts == [0, 2]


def test_a_summary_leaves_out_losses_that_were_not_finite():
    line = {"tokens": 3, "loss_tokens": 2, "seconds": 0.5, "skipped": 0}
    lines = [{"step": n, "loss": loss, **line} for n, loss in enumerate([None, 2.0, 1.0, None], 1)]
    summary = summarise("sft", lines)
    assert (summary["first_loss"], summary["last_loss"]) == (2.0, 1.0)
    assert (summary["steps"], summary["tokens"], summary["seconds"]) == (4, 12, 2.0)
    with pytest.raises(GateNotMet, match="none of the 1 steps had a finite loss"):
        summarise("sft", lines[:1])
