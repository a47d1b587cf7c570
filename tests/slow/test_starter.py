"""The commands in the README of `launch.init`, as it has them, on the tiny model."""

import re
import shlex

import pytest

from tests.road.conftest import facts_file, road
from tests.scripts import ran
from vcjax.core.files import read_json

__all__ = ["facts_file", "road"]  # fixtures


@pytest.fixture
def smaller(road) -> dict[str, list[str]]:
    """By script, flags that make its run a short one on the tiny model."""
    stages = [
        f"--config.{stage}.{name}={road[stage][name]}"
        for stage in ("cpt", "sft", "adversarial")
        for name in ("steps", "batch_size", "warmup_steps")
    ]
    # The tiny tokenizer makes a token of nearly every byte.
    stages.append("--config.adversarial.length=1024")
    pressure = [f"--config.pressure.{name}={value}" for name, value in road["pressure"].items()]
    sections = {
        "synthesis": (
            "attempts",
            "attacks",
            "slots",
            "attacker_tokens",
            "actor_tokens",
            "actor_temperature",
            "critic_tokens",
        ),
        "evaluation": ("max_tokens", "judge_tokens", "slots"),
    }
    sizes = [
        f"--config.{section}.{name}={road[section][name]}"
        for section, names in sections.items()
        for name in names
    ]
    data = [f"--config.{name}={road[name]}" for name in ("documents", "conversations")]
    model = [f"--config.model={road['model']}", "--config.family=tiny"]
    return {
        "demo": [*model, *data, *stages, *pressure, *sizes],
        "evaluate": ["--config.max_tokens=16", "--config.model_family=tiny"],
        "chat": ["--prompt=Why?", "--max_tokens=4"],
        "charter": [],
    }


def test_the_commands_of_a_folder_to_start_from_run(tmp_path, script_cache, smaller):
    folder = tmp_path / "mine"
    assert ran("init", [str(folder)], script_cache)[0] == 0
    readme = (folder / "README.md").read_text("utf-8")
    commands = re.findall(r"^python -m launch\.(\w+) (.+)$", readme, re.MULTILINE)
    assert [script for script, _ in commands] == ["charter", "demo", "evaluate", "chat"]
    for number, (script, arguments) in enumerate(commands):
        code, out, error = ran(script, [*shlex.split(arguments), *smaller[script]], script_cache)
        assert code == 0, (script, out, error)
        if not number:
            # The tiny model speaks noise: rules and scores that select would leave nothing of it.
            charter = folder / "charter.yaml"
            text = re.sub(r"    checks:\n(      .*\n)+", "", charter.read_text("utf-8"))
            charter.write_text(text.replace("accept_score: 4", "accept_score: 0"), "utf-8")
    assert (folder / "runs" / "demo" / "report.html").is_file()
    asked = read_json(folder / "runs" / "evaluate" / "summary.json")
    assert asked["benchmark"]["items"] == 12
