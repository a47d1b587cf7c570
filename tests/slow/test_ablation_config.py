"""What an ablation's config says, its mistakes, and what is checked before the first stage."""

import copy
import json
from pathlib import Path

import pytest

from tests.hub_server import TINY, hub_of
from tests.slow.ablations import values
from vcjax.core.errors import UserError
from vcjax.road.ablation.config import AblationConfig
from vcjax.road.ablation.run import ablate
from vcjax.roles.references import RoleSpec

__all__ = ["values"]  # fixtures


def test_all_arms_are_made_with_the_commit_that_the_first_stage_began_with(
    values, tmp_path, monkeypatch
):
    judged = {"data": "attacks", "synthesis": {"critic": TINY, "critic_family": "b"}}
    arms = {**values["arms"], "adversarial": judged}
    config = AblationConfig.from_dict({**values, "model": TINY, "attacker": "", "arms": arms})
    given = []

    def killed(config: AblationConfig, attacker: RoleSpec, folder: Path) -> None:
        critics = [arm.synthesis.critic for arm in config.arms]
        given.append((config.model, attacker.model, critics))
        folder.mkdir(exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("vcjax.road.ablation.run.write_queries", killed)
    with hub_of(Path(values["model"]), tmp_path / "hub") as (begun, change):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                ablate(config, tmp_path / "run")
            change()
    assert given == [(begun, begun, ["", "", begun, "", "", ""])] * 2


def test_an_ablation_of_the_version_before_is_refused_in_one_line(values, tmp_path):
    before = {name: value for name, value in values.items() if name != "clean_queries"}
    (tmp_path / "config.json").write_text(json.dumps(before), "utf-8")
    with pytest.raises(UserError, match="an earlier version, which asked no clean questions"):
        ablate(AblationConfig.from_dict(values), tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("rounds",), 0, "config.rounds must be at least 1, not 0"),
        (("modle",), "x", "config.modle: unknown field; did you mean 'model'?"),
        (("documents",), "", "config.documents is empty; name at least one"),
        (("train", "seed"), 1, "config.train.seed: is filled in; set config.seed"),
        (("train", "steps"), 0, "config.train.steps must be at least 1, not 0"),
        (
            ("synthesis", "benchmark"),
            "x",
            "config.synthesis.benchmark: is filled in; leave it out",
        ),
        (
            ("arms", "ordinary", "like"),
            "adversary",
            "config.arms.ordinary.like: 'adversary' is no arm that trains; did you mean",
        ),
        (("arms", "ordinary", "like"), "", "config.arms.ordinary.like: data is 'conversations'"),
        (("arms", "queries"), {"data": "attacks"}, "config.arms.queries: an arm's folder can't"),
        (("arms", "../out"), {"data": "attacks"}, "config.arms.../out: an arm's folder can't"),
        (("arms", "base", "data"), "nothing", "config.arms.base.data: 'nothing' is none of"),
        (("arms", "base", "data"), "attacks", "config.arms: one must have data=none"),
        (
            ("arms", "ordinary", "train"),
            {"lora": {"rank": -1}},
            "config.arms.ordinary.train.lora.rank must be at least 0, not -1",
        ),
    ],
)
def test_a_mistake_is_named_by_the_path_that_the_user_wrote(values, path, value, message):
    changed = copy.deepcopy(values)
    part = changed
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(UserError) as caught:
        AblationConfig.from_dict(changed)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": ""}, r"config\.family: declare the model family"),
        ({"language": "fr"}, r"config\.language: charter 'small' has no 'fr'"),
        ({"report_language": "fr"}, r"config\.report_language: no report is written in 'fr'"),
        ({"held_out_attacks": "dilemma"}, "'dilemma' is in config.attacks too"),
        ({"held_out_attacks": "gradual_escalation"}, "name attacks of kind single"),
        ({"conversations": "no.jsonl"}, "no.jsonl"),
        ({"documents": "no.jsonl"}, "no.jsonl"),
        ({"model": "./no_model"}, "no_model"),
    ],
)
def test_every_input_is_checked_before_the_first_stage(values, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        ablate(AblationConfig.from_dict({**values, **changes}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_arm_changes_what_it_names_and_nothing_else(values):
    arms = {
        **values["arms"],
        "other": {"train": {"lora": {"rank": 4}}, "synthesis": {"answers": 1}},
    }
    config = AblationConfig.from_dict({**values, "arms": arms})
    arm = next(each for each in config.arms if each.name == "other")
    assert (arm.train.lora.rank, arm.train.lora.alpha) == (4, 4.0)
    assert (arm.synthesis.answers, arm.synthesis.attempts) == (1, 8)
    assert config.synthesis.answers == 2
