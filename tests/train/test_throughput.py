"""Throughput: a step's time, its FLOPs, the peak; and a profiler trace of a few steps."""

import time
from itertools import chain

import jax
import jax.numpy as jnp

from vcjax.core.hardware import HARDWARE
from vcjax.model.flops import step_flops
from vcjax.train.throughput import Clock, peak_flops, profiled, run_flops, speeds


def test_every_device_has_one_peak():
    kinds = list(chain.from_iterable(entry.kinds for entry in HARDWARE.values()))
    assert len(kinds) == len(set(kinds))


def test_a_step_is_charged_for_its_data_but_not_for_pauses(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def batches():
        nonlocal now
        for batch in range(2):
            now += 3
            yield batch

    clock = Clock()
    laps = []
    for _ in clock.waiting(batches()):
        now += 1
        with clock.paused():
            now += 7
        laps.append(clock.lap())
    assert laps == [(4.0, 3.0), (4.0, 3.0)]


def test_a_steps_operations_are_those_of_all_its_rows(model_config, make_config):
    config = make_config(batch_size=4, microbatches=2)
    assert run_flops(model_config, config) == step_flops(model_config, 4, 48)
    lora = make_config(batch_size=4, lora={"rank": 2})
    assert run_flops(model_config, lora) == step_flops(model_config, 4, 48, lora.adapters)
    pairs = {"documents": "", "preferences": "pairs.jsonl", "objective": "orpo"}
    paired = make_config(batch_size=4, stage="adversarial", **pairs)
    assert run_flops(model_config, paired) == step_flops(model_config, 8, 48)


def test_the_peak_of_a_cpu_is_measured_once():
    assert jax.devices()[0].platform == "cpu"
    peak = peak_flops("float32")
    assert peak is not None
    assert peak > 0
    assert peak_flops("float32") == peak


def test_shares_of_the_peak_need_a_known_one():
    line = speeds(tokens=100, seconds=2.0, waited=0.5, flops=8e9, peak=16e9)
    assert line == {
        "seconds": 2.0,
        "tokens_per_second": 50.0,
        "flops_per_second": 4e9,
        "data_wait": 0.25,
        "peak_share": 0.25,
    }
    assert "peak_share" not in speeds(100, 2.0, 0.5, 8e9, None)


def traces(workdir) -> list:
    return list((workdir / "profile").rglob("*.xplane.pb"))


def run(workdir, first: int, last: int, steps: int) -> None:
    with profiled(workdir, first, last) as at:
        at(0, ())
        for step in range(1, steps + 1):
            with jax.profiler.TraceAnnotation(f"step number {step}"):
                result = jnp.ones(8) * step
            at(step, result)


def test_the_steps_asked_for_are_traced_and_no_others(tmp_path):
    run(tmp_path, 2, 3, steps=4)
    (trace,) = traces(tmp_path)
    found = [step for step in range(1, 5) if f"step number {step}".encode() in trace.read_bytes()]
    assert found == [2, 3]


def test_a_run_that_ends_early_still_leaves_its_trace(tmp_path):
    run(tmp_path, 2, 9, steps=3)
    assert len(traces(tmp_path)) == 1
