"""Skipped updates: nothing changes, bit for bit, and too many consecutive ones end the run."""

import jax
import numpy as np
import pytest

from tests.train.cheap import BAD_GRADIENT, BAD_LOSS, FINE, cheap_batch, cheap_loss
from vcjax.core.errors import GateNotMet
from vcjax.parallel import make_mesh
from vcjax.train.layout import make_layout, shard_params, sharding_of
from vcjax.train.optim import make_optimizer, make_schedule
from vcjax.train.step import make_step
from vcjax.train.stopping import SkipGuard


def line(step, skipped):
    loss = float("nan") if skipped else 1.0
    return {"step": step, "skipped": int(skipped), "loss": loss, "grad_norm": loss}


def ended_at(guard, skipped, first=1):
    """The step at which the guard ends a run with these steps, or None."""
    for step, bad in enumerate(skipped, first):
        try:
            guard.check(line(step, bad))
        except GateNotMet:
            return step
    return None


@pytest.mark.parametrize(
    ("max_skipped", "skipped", "end"),
    [
        (0, [0, 0, 1, 0], 3),
        (1, [1, 0, 1, 0, 1], None),
        (1, [0, 1, 1, 0], 3),
        (2, [1, 1, 0, 1, 1, 1, 1], 6),
        (9, [1] * 9, None),
    ],
)
def test_the_first_skipped_update_beyond_the_bound_ends_the_run(max_skipped, skipped, end):
    assert ended_at(SkipGuard(max_skipped), skipped) == end


def test_the_end_names_the_steps_and_what_to_do():
    guard = SkipGuard(1)
    for step, bad in ((6, 0), (7, 1)):
        guard.check(line(step, bad))
    with pytest.raises(GateNotMet) as caught:
        guard.check(line(8, 1))
    assert str(caught.value) == (
        "step 8: loss nan, gradient norm nan; 2 update(s) in a row were skipped, "
        "config.max_skipped is 1; lower config.learning_rate or look at the data of steps 7-8"
    )


@pytest.mark.parametrize("done", range(7))
def test_a_resume_anywhere_ends_at_the_same_step(done):
    skipped = [1, 0, 1, 1, 0, 1, 1, 1, 0]
    written = [line(step, bad) for step, bad in enumerate(skipped[:7], 1)]  # as of the kill
    resumed = SkipGuard(2, written, done)
    assert ended_at(resumed, skipped[done:], done + 1) == ended_at(SkipGuard(2), skipped) == 8


@pytest.fixture(scope="module", params=[False, True], ids=["device", "offloaded"])
def trained(model_config, params, make_config, request):
    """A function that takes steps on batches of these kinds: (parameters, state, metrics)."""
    config = make_config(optimizer="muon", offload=request.param)
    mesh = make_mesh({"fsdp": -1})
    optimizer = make_optimizer(config)
    layout = make_layout(model_config, config, optimizer, mesh)
    step = make_step(layout, cheap_loss, optimizer, make_schedule(config), 1)
    init = jax.jit(optimizer.init, out_shardings=sharding_of(layout.optimizer))

    def train(*kinds, counts=None):
        trainable = shard_params(params, layout.trainable)
        state, lines = init(trainable), []
        for count, kind in zip(counts or range(len(kinds)), kinds, strict=True):
            trainable, state, metrics = step(trainable, state, {}, cheap_batch(kind), count)
            lines.append({name: float(value) for name, value in metrics.items()})
        return jax.tree.map(np.asarray, (trainable, state)), lines

    return train


@pytest.mark.parametrize("kind", [BAD_LOSS, BAD_GRADIENT], ids=["loss", "gradient"])
def test_a_skipped_update_changes_no_bit_and_no_later_rate(trained, kind):
    kept, lines = trained(FINE, kind, FINE)
    wanted, steady = trained(FINE, FINE, counts=(0, 2))
    # Compared as bytes: equal numbers may differ in the sign of 0.
    assert [leaf.tobytes() for leaf in jax.tree.leaves(kept)] == [
        leaf.tobytes() for leaf in jax.tree.leaves(wanted)
    ]
    assert [each["skipped"] for each in lines] == [0, 1, 0]
    assert lines[2] == steady[1]
    assert np.isfinite(lines[1]["loss"]) == (kind == BAD_GRADIENT)
    assert np.isfinite(lines[1]["grad_norm"]) == (kind == BAD_LOSS)


def test_updates_count_no_skipped_step(trained):
    (_, state), _ = trained(FINE, BAD_LOSS, BAD_GRADIENT, FINE)
    counts = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype == np.int32]
    assert [int(count) for count in counts] == [2, 2]  # Muon's and AdamW's
