"""A configuration names its mistakes."""

import pytest
from ml_collections import ConfigDict

from vcjax.core.defaults import SHAPES
from vcjax.core.errors import UserError
from vcjax.model.build import NAMED
from vcjax.train.config import TrainConfig


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"step": 3}, "config.step: unknown field; did you mean 'steps'"),
        (
            {f"a{n}": n for n in range(4)},
            r"config\.a0: unknown field \(and 3 others",
        ),
        ({"lora": {"rank": 1, "alpha": 1.0, "target": "q"}}, "config.lora.target: unknown field"),
        ({"lora": {"rank": 1, "alpha": 1.0, "targets": "x"}}, "config.lora.targets 'x' matches"),
        ({"lora": 4}, "config.lora: must have the fields"),
        (
            {"lora": {"rank": 0, "base": "int8"}},
            "config.lora.base: 'int8' weights can't be trained",
        ),
        ({"warmup_steps": 5}, "config.warmup_steps: 5 is longer than the run of 4"),
        ({"decay_steps": 1}, "config.decay_steps: must be 0"),
        ({"schedule": "wsd"}, "config.decay_steps: must be 1 or more"),
        ({"schedule": "wsd", "decay_steps": 4}, "config.decay_steps: 4 after 1 of warm-up"),
        ({"objective": "dpo"}, "config.objective: 'dpo' is for the adversarial stage"),
        ({"stage": "adversarial", "objective": "dpo"}, "config.preferences: is empty"),
        ({"keep_best": 1}, "config.keep_best: needs validation.data"),
        ({"validation": {"data": "x"}}, "config.validation.data: is never measured"),
        ({"groups": 1}, "config.groups: must be a list"),
        (
            {"groups": [{"pattern": "q"}]},
            r"config.groups\[0\].learning_rate: this field is missing",
        ),
        ({"attention": "flash"}, "config.attention: 'flash' is none of auto"),
        ({"stage": "stf"}, "config.stage: 'stf' is none of cpt, sft, adversarial"),
        ({"stage": "sft"}, "config.conversations: is empty"),
        ({"conversations": "a.jsonl"}, "config.conversations: must be ''"),
        ({"dtype": "float16"}, "config.dtype: 'float16' is none of float32, bfloat16"),
        ({"on_bad_record": "skip"}, "config.on_bad_record"),
        ({"steps": 0}, "config.steps must be at least 1, not 0"),
        ({"steps": 1.5}, "config.steps: must be an integer, not 1.5"),
        ({"steps": True}, "config.steps: must be an integer, not True"),
        ({"remat": "al"}, "config.remat: 'al' is none of none, dots"),
        ({"learning_rate": float("nan")}, "config.learning_rate: must be a positive number"),
        ({"b2": 1.0}, r"config.b2: must be in \[0, 1\)"),
        ({"weight_decay": -1}, "config.weight_decay"),
        ({"batch_size": 3, "microbatches": 2}, "config.batch_size: 3 is no multiple"),
        ({"model": " "}, "config.model: is empty"),
    ],
)
def test_a_mistake_is_named_by_its_field(settings, changes, named):
    with pytest.raises(UserError, match=named):
        TrainConfig.from_dict(settings(**changes))


def test_a_missing_field_is_named(settings):
    values = settings()
    del values["seed"]
    with pytest.raises(UserError, match=r"config\.seed: this field is missing"):
        TrainConfig.from_dict(values)


def test_a_config_dict_and_its_own_plain_form_give_the_same(settings):
    config = TrainConfig.from_dict(ConfigDict(settings(weight_decay=0)))
    assert config.weight_decay == 0.0
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_rank_zero_is_full_fine_tuning(settings):
    assert TrainConfig.from_dict(settings()).adapters is None
    lora = {"rank": 4, "alpha": 8.0, "targets": "q|v"}
    assert TrainConfig.from_dict(settings(lora=lora)).adapters.scale == 2.0


@pytest.mark.parametrize("name", ["cpt", "sft", "adversarial"])
def test_the_shipped_configs_hold(name):
    module = __import__(f"configs.{name}", fromlist=["get_config"])
    values = module.get_config()
    if name == "adversarial":  # its pairs come from the run before
        values.conversations = "accepted.jsonl"
    assert TrainConfig.from_dict(values).stage == name
    for variant, model in SHAPES.items():
        scaled = module.get_config(variant)
        scaled.documents, scaled.conversations = ("x", "") if name == "cpt" else ("", "x")
        config = TrainConfig.from_dict(scaled)
        assert (config.dtype, config.model) == ("bfloat16", model)
        assert config.length <= NAMED[model].max_position
    with pytest.raises(UserError, match="did you mean 'demo'"):
        module.get_config("dem")
