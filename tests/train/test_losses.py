"""The loss: which tokens count, chunks, and the isolation of packed texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vcjax.model.build import abstract, packed_logits
from vcjax.train.cross_entropy import row_cross_entropy, summed_cross_entropy
from vcjax.train.losses import next_token_loss, next_tokens


@pytest.fixture(scope="module")
def graph(model_config):
    return abstract(model_config)[0]


def test_a_token_is_predicted_from_the_one_before_it_in_its_segment():
    batch = {
        "tokens": jnp.array([[5, 6, 7, 8, 9, 0]]),
        "loss_mask": jnp.array([[True, False, True, True, True, True]]),
        "segment_ids": jnp.array([[1, 1, 1, 2, 2, 0]]),
        "positions": jnp.array([[0, 1, 2, 0, 1, 0]]),
    }
    targets, mask = next_tokens(batch)
    # 5 and 8 begin a segment, 6 is masked, the last place has nothing after it.
    assert mask.tolist() == [[False, True, False, True, False, False]]
    assert targets[mask].tolist() == [7, 9]


def test_loss_equals_the_textbook_sum(graph, params, random_batch):
    batch = random_batch(3, 24)
    logits = packed_logits(graph, params, batch["tokens"], batch["positions"], batch["segment_ids"])
    log_p = np.asarray(jax.nn.log_softmax(logits), np.float64)
    wanted, count = 0.0, 0
    for row in range(3):
        for t in range(1, 24):
            same = batch["segment_ids"][row, t] == batch["segment_ids"][row, t - 1]
            if batch["loss_mask"][row, t] and same:
                wanted -= log_p[row, t - 1, batch["tokens"][row, t]]
                count += 1
    loss, sums = jax.jit(lambda p, b: next_token_loss(nnx.merge(graph, p), b))(params, batch)
    assert {name: int(value) for name, value in sums.items()} == {"count": count}
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)


@pytest.fixture(scope="module")
def scored():
    """Hidden states, head, targets and mask of three rows."""
    keys = jax.random.split(jax.random.key(0), 4)
    return (
        jax.random.normal(keys[0], (3, 10, 8)),
        jax.random.normal(keys[1], (30, 8)),
        jax.random.randint(keys[2], (3, 10), 0, 30),
        jax.random.bernoulli(keys[3], 0.6, (3, 10)),
    )


def plain_rows(hidden, head, targets, mask):
    log_p = jax.nn.log_softmax(hidden @ head.T)
    found = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
    return -jnp.sum(found * mask, axis=1)


@pytest.mark.parametrize("chunk", [1, 4, 10, 16])
def test_chunked_losses_equal_the_plain_ones_and_so_do_their_gradients(scored, chunk):
    hidden, head, *rest = scored
    weights = jnp.arange(1.0, 4.0)  # of the rows
    for chunked, plain in (
        (
            lambda h, w: row_cross_entropy(h, w, *rest, chunk) @ weights,
            lambda h, w: plain_rows(h, w, *rest) @ weights,
        ),
        (
            lambda h, w: 3.0 * summed_cross_entropy(h, w, *rest, chunk),
            lambda h, w: 3.0 * jnp.sum(plain_rows(h, w, *rest)),
        ),
    ):
        value, grads = jax.value_and_grad(chunked, (0, 1))(hidden, head)
        wanted, wanted_grads = jax.value_and_grad(plain, (0, 1))(hidden, head)
        np.testing.assert_allclose(value, wanted, rtol=1e-6)
        np.testing.assert_allclose(chunked(hidden, head), wanted, rtol=1e-6)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), grads, wanted_grads)


@pytest.mark.parametrize("summed", [row_cross_entropy, summed_cross_entropy])
def test_chunks_never_hold_all_scores_at_once(summed):
    rows, length, width, vocab = 4, 64, 8, 1000
    head = jnp.ones((vocab, width))

    def loss(hidden):
        targets = jnp.zeros((rows, length), jnp.int32)
        mask = jnp.ones((rows, length), bool)
        return jnp.sum(summed(hidden, head, targets, mask, 4))

    text = str(jax.make_jaxpr(jax.grad(loss))(jnp.ones((rows, length, width))))
    assert f"f32[4,4,{vocab}]" in text
    assert f"[{length // 4},4,4,{vocab}]" not in text
    assert f"[4,{length},{vocab}]" not in text


def test_packing_isolates_segments(graph, params, random_batch):
    batch = random_batch(1, 32, seed=4)
    second = batch["segment_ids"] == 2
    other = {**batch, "tokens": np.where(second, batch["tokens"], (batch["tokens"] + 50) % 259)}
    only_second = {"loss_mask": batch["loss_mask"] & second}

    def logits(batch):
        args = batch["tokens"], batch["positions"], batch["segment_ids"]
        return np.asarray(packed_logits(graph, params, *args))[second]

    @jax.jit
    def grads(params, batch):
        return jax.grad(lambda p: next_token_loss(nnx.merge(graph, p), batch)[0])(params)

    assert not np.array_equal(batch["tokens"], other["tokens"])
    np.testing.assert_array_equal(logits(batch), logits(other))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        grads(params, batch | only_second),
        grads(params, other | only_second),
    )
