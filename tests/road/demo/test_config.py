"""The road's config: what is set once reaches every stage, and mistakes carry their path."""

import copy

import pytest

from vcjax.core.errors import UserError
from vcjax.road.demo.config import DemoConfig


def test_what_is_set_once_is_filled_into_every_stage(road):
    config = DemoConfig.from_dict({**road, "columns": "question:ask"})
    stages = (config.cpt, config.sft, config.adversarial)
    for part in (*stages, config.synthesis, config.evaluation):
        assert part.charter == road["charter"]
        assert part.seed == 3
    assert {part.columns for part in (*stages, config.synthesis)} == {"question:ask"}
    assert {stage.model for stage in stages} == {road["model"]}
    assert (config.cpt.documents, config.cpt.conversations) == (road["documents"], "")
    assert (config.sft.documents, config.sft.conversations) == ("", road["conversations"])
    assert config.adversarial.replay == road["conversations"]
    assert config.synthesis.questions == road["questions"]
    synthesis = config.synthesis
    assert {synthesis.attacker, synthesis.actor, synthesis.critic} == {road["model"]}
    assert synthesis.critic_family == config.evaluation.judge_family == "tiny"
    assert config.evaluation.model == config.evaluation.judge == road["model"]
    assert synthesis.attempts == 6


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("cpt", "steps"), "many", "config.cpt.steps: must be an integer, not 'many'"),
        (("cpt", "steps"), 0, "config.cpt.steps must be at least 1, not 0"),
        (("sft", "lora"), {"rank": 2}, "config.sft.lora.alpha: this field is missing"),
        (("synthesis", "attempts"), 0, "config.synthesis.attempts must be at least 1, not 0"),
        (("synthesis", "atempts"), 4, "config.synthesis.atempts: unknown field; did you mean"),
        (("evaluation",), 5, "config.evaluation: must have fields, not 5"),
        (("columns",), "ask", "config.cpt.columns: 'ask' must be OURS:THEIRS"),
        (("chartre",), "x", "config.chartre: unknown field; did you mean 'charter'?"),
        (("cpt", "seed"), 1, "config.cpt.seed: is filled in; set config.seed"),
        (("sft", "documents"), "x", "config.sft.documents: is filled in; leave it out"),
        (("seed",), "x", "config.seed: must be an integer, not 'x'"),
    ],
)
def test_a_mistake_is_named_by_the_path_that_the_user_wrote(road, path, value, message):
    values = copy.deepcopy(road)
    part = values
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(UserError) as caught:
        DemoConfig.from_dict(values)
    assert str(caught.value).startswith(message)


def test_a_missing_field_is_named(road):
    for name in ("charter", "cpt", "family"):
        values = {key: value for key, value in road.items() if key != name}
        with pytest.raises(UserError, match=rf"config\.{name}: this field is missing"):
            DemoConfig.from_dict(values)
