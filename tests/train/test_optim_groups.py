"""Groups by pattern: the first match decides, a rate of 0 freezes, mistakes are named."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from tests.train.cheap import cheap_batch, cheap_loss
from tests.train.gradients import mean_gradients
from vcjax.core.errors import UserError
from vcjax.parallel import make_mesh
from vcjax.train.layout import make_layout, shard_params, sharding_of
from vcjax.train.optim import check_groups, make_optimizer, make_schedule
from vcjax.train.step import make_step

LORA = {"rank": 2, "alpha": 8.0, "targets": "q|down"}


def group(pattern, learning_rate=1.0, weight_decay=1.0):
    return {"pattern": pattern, "learning_rate": learning_rate, "weight_decay": weight_decay}


def test_multipliers_scale_rate_and_decay_and_the_first_match_decides(params, make_config):
    groups = [
        group(r"layers\.q\.kernel", learning_rate=3.0),
        group(r"layers\..*\.kernel", learning_rate=0.5, weight_decay=4.0),
        group("embedding", weight_decay=0.0),
        group("emb.*", learning_rate=100.0),
    ]
    config = make_config(optimizer="lion", weight_decay=0.5, groups=groups)
    optimizer = make_optimizer(config)
    ones = jax.tree.map(jnp.ones_like, params)
    norm = optimizer.norm(ones)
    after, _ = jax.jit(optimizer.update)(ones, norm, optimizer.init(params), params, 0.01)
    changed = flatten_dict(after, sep=".")
    for path, leaf in flatten_dict(params, sep=".").items():
        rate, decay = {
            "layers.q.kernel": (0.03, 0.5),
            "embedding": (0.01, 0.0),
        }.get(path, (0.005, 2.0) if path.endswith("kernel") else (0.01, 0.0))
        wanted = leaf - rate * (1.0 + decay * leaf)
        np.testing.assert_allclose(changed[path], wanted, atol=1e-6, err_msg=path)


@pytest.mark.parametrize(
    ("optimizer", "offload"),
    [("adamw", False), ("adafactor", False), ("muon", False), ("muon", True)],
)
def test_a_rate_of_zero_freezes_bit_for_bit_without_state(
    model_config, params, make_config, optimizer, offload
):
    groups = [group("embedding", 0.0), group(r"layers\.(q|o)\..*", 0.0)]
    config = make_config(optimizer=optimizer, groups=groups, offload=offload)
    mesh = make_mesh({"fsdp": -1})
    made = make_optimizer(config)
    layout = make_layout(model_config, config, made, mesh)
    # A negative 0 stays one only if nothing is added to it.
    params = {**params, "embedding": np.where(params["embedding"] < 0, params["embedding"], -0.0)}
    still = ("embedding", "layers.q.kernel", "layers.o.kernel")
    before, batch = flatten_dict(params, sep="."), cheap_batch()

    _, _, slopes = jax.jit(mean_gradients(layout, cheap_loss, 1))(params, {}, batch)
    counted = [leaf for path, leaf in flatten_dict(slopes, sep=".").items() if path not in still]
    step = make_step(layout, cheap_loss, made, make_schedule(config), 1)
    trainable = shard_params(params, layout.trainable)
    state = jax.jit(made.init, out_shardings=sharding_of(layout.optimizer))(trainable)
    for count in range(2):
        trainable, state, metrics = step(trainable, state, {}, batch, count)
        if not count:
            np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(counted), rtol=1e-6)
    for path, leaf in flatten_dict(trainable, sep=".").items():
        assert (np.asarray(leaf).tobytes() == before[path].tobytes()) == (path in still), path
    for path, _ in jax.tree_util.tree_leaves_with_path(state):
        place_of = jax.tree_util.keystr(path)
        assert not any(name in place_of for name in ("embedding", "['q']", "['o']")), place_of


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["layers.q.kernle"], "groups[0].pattern: 'layers.q.kernle' matches no trained parameter; "
         "near are layers.q.kernel, "),
        ([".*norm.*", r"layers\.qq\..*"], "groups[1].pattern: "),
        (["layers"], "groups[0].pattern: 'layers' matches no trained parameter"),
        (["layers.*", "layers.q.kernel"], "groups[1].pattern: 'layers.q.kernel' comes too late"),
    ],
)  # fmt: skip
def test_a_pattern_that_decides_nothing_is_named(make_config, model_config, patterns, message):
    config = make_config(groups=[group(pattern, 0.5) for pattern in patterns])
    with pytest.raises(UserError) as caught:
        check_groups(config, model_config)
    assert str(caught.value).startswith(f"config.{message}")
    assert "\n" not in str(caught.value)


def test_patterns_are_held_against_what_is_trained(make_config, model_config):
    check_groups(make_config(groups=[group("embedding"), group("layers.*")]), model_config)
    check_groups(make_config(groups=[group(r"layers\.q\.lora_a", 0.0)], lora=LORA), model_config)
    with pytest.raises(UserError, match="'embedding' matches no trained parameter"):
        check_groups(make_config(groups=[group("embedding")], lora=LORA), model_config)
    untied = dataclasses.replace(model_config, tie_embeddings=False)
    check_groups(make_config(groups=[group("head", 0.0)]), untied)
    with pytest.raises(UserError, match="'head' matches no trained parameter"):
        check_groups(make_config(groups=[group("head", 0.0)]), model_config)


def test_a_run_that_freezes_everything_is_a_mistake(make_config, model_config):
    config = make_config(groups=[group("layers.*", 0.0), group(".*", 0.0)])
    with pytest.raises(UserError, match="groups: freeze all parameters"):
        check_groups(config, model_config)
