"""DPO and ORPO against textbook formulas, by hand, and in sums over microbatches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.train.gradients import mean_gradients
from vcjax.model.build import abstract, packed_logits
from vcjax.parallel import make_mesh
from vcjax.train.layout import make_layout
from vcjax.train.losses import (
    CHUNK,
    MEANS,
    dpo_loss,
    log_odds,
    make_loss,
    orpo_loss,
    pair_log_probs,
)
from vcjax.train.optim import make_optimizer

BETA, ODDS_WEIGHT = 0.4, 0.3
OBJECTIVES = ("dpo", "orpo")


@pytest.fixture
def config_of(make_config):
    """A config of an objective, with its factor."""
    data = {"documents": "", "preferences": "pairs.jsonl"}
    factors = {"beta": BETA, "odds_weight": ODDS_WEIGHT}
    return partial(make_config, stage="adversarial", preference=factors, **data)


@pytest.fixture(scope="module")
def graph(model_config):
    return abstract(model_config)[0]


@pytest.fixture(scope="module")
def sharp(params):
    """The tiny model with larger embeddings: answers differ in probability by much."""
    return {**params, "embedding": 10 * params["embedding"]}


def textbook(objective, graph, params, batch):
    """The mean loss and the measured means, from all logits at once, answer by answer."""
    rows = {name: batch[name].reshape(-1, batch[name].shape[-1]) for name in batch}
    logits = packed_logits(graph, params, rows["tokens"], rows["positions"], rows["segment_ids"])
    log_p = jax.nn.log_softmax(logits)
    losses, measured = [], []
    for pair in range(len(batch["tokens"])):
        both = []
        for line in range(2):
            places = np.flatnonzero(batch["loss_mask"][pair, line])
            tokens = batch["tokens"][pair, line, places]
            both.append(log_p[2 * pair + line, places - 1, tokens])
        totals = [jnp.sum(each) for each in both]
        if objective == "dpo":
            ratios = [totals[line] - batch["reference"][pair, line] for line in range(2)]
            margin = BETA * (ratios[0] - ratios[1])
            losses.append(-jnp.log(1 / (1 + jnp.exp(-margin))))
        else:
            p = [jnp.exp(jnp.mean(each)) for each in both]
            odds = [each / (1 - each) for each in p]
            margin = jnp.log(odds[0] / odds[1])
            ratio = odds[0] / odds[1]
            losses.append(-jnp.mean(both[0]) - ODDS_WEIGHT * jnp.log(ratio / (1 + ratio)))
        measured.append([margin > 0, margin, *totals])
    means = jnp.mean(jnp.asarray(measured, jnp.float32), axis=0)
    return jnp.mean(jnp.stack(losses)), dict(zip(MEANS, means, strict=True))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_and_gradient_equal_the_textbook(objective, config_of, graph, sharp, random_pairs):
    loss_of = make_loss(config_of(objective=objective))
    batch = random_pairs(12, 48)  # more tokens than a chunk of the vocabulary's scores
    assert batch["tokens"].size > 1024

    def ours(params):
        loss, sums = loss_of(nnx.merge(graph, params), batch)
        return loss / sums["count"], sums

    (loss, sums), grads = jax.jit(jax.value_and_grad(ours, has_aux=True))(sharp)
    naive = partial(textbook, objective, graph, batch=batch)
    (wanted, means), wanted_grads = jax.jit(jax.value_and_grad(naive, has_aux=True))(sharp)
    assert int(sums.pop("count")) == 12
    assert sums.keys() == means.keys()
    assert 0 < float(means["accuracy"]) < 1
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    for name in means:
        np.testing.assert_allclose(sums[name] / 12, means[name], rtol=1e-4, err_msg=name)
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(wanted_grads))
    assert largest > 1e-2
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest), grads, wanted_grads
    )


def test_a_uniform_model_gives_what_is_reckoned_by_hand(graph, params, random_pairs):
    """Zero parameters: each of 260 tokens has the probability 1/260."""
    model = nnx.merge(graph, jax.tree.map(jnp.zeros_like, params))
    batch = random_pairs(1, 24)
    batch["loss_mask"] = np.zeros((1, 2, 24), bool)
    batch["loss_mask"][0, 0, 3:5] = True  # two tokens chosen, three rejected
    batch["loss_mask"][0, 1, 2:5] = True
    batch["segment_ids"] = np.ones((1, 2, 24), np.int32)
    batch["reference"] = np.array([[-11.0, -17.0]], np.float32)
    nats = np.log(260)

    log_probs, tokens = pair_log_probs(model, batch)
    assert tokens.tolist() == [[2, 3]]
    np.testing.assert_allclose(log_probs, [[-2 * nats, -3 * nats]], rtol=1e-6)

    margin = 0.4 * ((-2 * nats + 11) - (-3 * nats + 17))
    loss, sums = dpo_loss(model, batch, beta=0.4)
    np.testing.assert_allclose(loss, np.log(1 + np.exp(-margin)), rtol=1e-5)
    np.testing.assert_allclose(sums["margin"], margin, rtol=1e-5)
    assert (int(sums["count"]), float(sums["accuracy"])) == (1, 0.0)

    loss, sums = orpo_loss(model, batch, odds_weight=0.3)  # the odds are even: log sigmoid(0)
    np.testing.assert_allclose(loss, nats + 0.3 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(sums["margin"], 0, atol=1e-6)


def test_log_odds_hold_at_both_ends():
    log_probs = np.array([-80.0, -5.0, -0.7, -1e-2, -1e-5, -1e-7], np.float32)
    exact = log_probs.astype(np.float64)
    wanted = exact - np.log(-np.expm1(exact))
    values, grads = jax.vmap(jax.value_and_grad(log_odds))(log_probs)
    np.testing.assert_allclose(values, wanted, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(grads, -1 / np.expm1(exact), rtol=1e-5)
    for certain in (0.0, -1e-12):
        value, grad = jax.value_and_grad(log_odds)(np.float32(certain))
        assert np.isfinite(value)
        assert np.isfinite(grad)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_step_holds_the_scores_of_all_tokens(objective, config_of, graph, params, random_pairs):
    batch = random_pairs(12, 48)
    loss = make_loss(config_of(objective=objective))
    text = str(jax.make_jaxpr(jax.grad(lambda p: loss(nnx.merge(graph, p), batch)[0]))(params))
    columns = CHUNK // 24  # of 24 rows
    assert f"f32[24,{columns},260]" in text
    assert "[24,48,260]" not in text
    assert f",24,{columns},260]" not in text


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_microbatches_of_pairs_give_the_loss_and_gradient_of_the_whole(
    objective, config_of, model_config, params, random_pairs
):
    config = config_of(objective=objective)
    mesh = make_mesh({"fsdp": -1})
    layout = make_layout(model_config, config, make_optimizer(config), mesh)
    batch = random_pairs(6, 24)
    batch["loss_mask"][4] = False  # a pair without answers is none
    loss = make_loss(config)
    whole, split = (
        jax.jit(mean_gradients(layout, loss, microbatches))(params, {}, batch)
        for microbatches in (1, 3)
    )
    assert int(whole[1]) == int(split[1]) == 5
    assert set(whole[0]) == {"loss", *MEANS}
    for name, value in whole[0].items():
        np.testing.assert_allclose(split[0][name], value, rtol=1e-5, err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), split[2], whole[2])
