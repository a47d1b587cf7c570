"""A trace of a few steps."""

import jax
import jax.numpy as jnp

from vcjax.train.throughput import profiled


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
