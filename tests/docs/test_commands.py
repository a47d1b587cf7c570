"""Every command of the README and the site: its script, flags, config and fields exist."""

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import Block, blocks, commands, pages, spans
from tests.processes import ROOT
from tests.scripts import parsed
from vcjax.adversarial.config import SynthesisConfig
from vcjax.core.errors import UserError
from vcjax.core.settings import build
from vcjax.data.corpus.config import PrepareConfig
from vcjax.plan.setting import plan_config
from vcjax.road.ablation.config import AblationConfig
from vcjax.road.demo.config import DemoConfig
from vcjax.road.evaluate import EvaluationConfig
from vcjax.road.pressure.config import PressureConfig
from vcjax.road.rounds import RoundsConfig
from vcjax.road.stages.config import StagesConfig
from vcjax.train.config import TrainConfig

PAGES = pages()
OF_SHELL = ("cd", "source", "git", "export", "ssh", "#")
NOT_GIVEN = ": is missing"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_what_the_scripts_take(page, folder):
    for block in blocks(page):
        if block.language in ("bash", "console", "sh", "shell"):
            for words in commands(block):
                _check(words, block, folder)
    for span in spans(page):
        if not re.search(r"\[|…|\.\.\.|NAME", span):  # a form of a command, not one to copy
            (words,) = commands(Block(str(page.relative_to(ROOT)), 0, "bash", {}, span))
            _check(
                words,
                Block(str(page.relative_to(ROOT)), 0, "bash", {"outside": "text"}, span),
                folder,
            )


def _check(words: list[str], block: Block, folder: Path) -> None:
    where = f"{block.where}: {' '.join(words)}"
    while ("=" in words[0] and not words[0].startswith("-")) or words[0] in ("/usr/bin/time", "-v"):
        words = words[1:]
    program, *rest = words
    if program.startswith("python") and rest[0] == "-m":
        _check_module(rest[1], rest[2:], where, folder, whole=block.line > 0)
    elif program == "python":
        assert rest[0] == "-c", where
        compile(rest[1], where, "exec")
    elif program == "make":
        targets = (ROOT / "Makefile").read_text()
        for variable, value in re.findall(r"^(\w+) := (\S+)$", targets, re.MULTILINE):
            targets = targets.replace(f"$({variable})", value)
        named = [word for word in rest if "=" not in word]
        assert all(re.search(rf"^{re.escape(name)}:", targets, re.MULTILINE) for name in named), (
            where
        )
    elif program in ("pip", "pip3"):
        _check_extras(rest, where)
    elif program.endswith(".sh") or program == "bash":
        script = rest[0] if program == "bash" else program
        assert (ROOT / script).is_file(), where
        if "--" in rest:
            _check_hosts(script, rest, where, folder)
    else:
        known = program in OF_SHELL or block.marks.keys() & {"hardware", "outside"}
        assert known, f"{where}: mark the fence with hardware=... or outside=..."


def _check_hosts(script: str, rest: list[str], where: str, folder: Path) -> None:
    """A script that runs launch.train on several hosts: its dry run, and the flags of the run."""
    at = rest.index("--")
    asked = [*(word for word in rest[:at] if word != "--dry_run"), "--dry_run", *rest[at:]]
    shown = subprocess.run([ROOT / script, *asked], capture_output=True, text=True, cwd=folder)
    assert shown.returncode == 0, f"{where}: {shown.stderr}"
    assert "launch.train" in shown.stdout, where
    _check_module(rest[at + 1], rest[at + 2 :], where, folder, whole=True)


def _check_module(
    module: str, arguments: list[str], where: str, folder: Path, *, whole: bool
) -> None:
    package, _, name = module.partition(".")
    file = ROOT / f"{module.replace('.', '/')}.py"
    assert file.is_file() or package not in ("launch", "tests"), f"{where}: there is no {module}"
    if package != "launch":
        return
    try:
        with parsed(name, arguments, folder) as (flags, operands):
            _check_config(name, flags, where)
            if operands and re.fullmatch("[a-z]+", operands[0]):
                verb = rf"launch\.{name} {operands[0]}\b"
                assert re.search(verb, file.read_text()), f"{where}: no verb {operands[0]!r}"
    except ValueError as error:
        # In running text a command may be named without all that it needs.
        if whole or NOT_GIVEN not in str(error):
            raise AssertionError(f"{where}: {error}") from None


def _check_config(script: str, flags: Any, where: str) -> None:
    """Builds the config as the script's `main` does, which reads no model and no data."""
    if "config" not in flags or flags["config"].value is None:
        return
    values = flags["config"].value.to_dict()
    if script == "plan" and "attacker" not in values:
        plan_config(values)
        return
    if script in ("synthesize", "plan") and "rounds" not in values:
        build(SynthesisConfig, values, "config")
    elif script == "evaluate":
        build(EvaluationConfig, values, "config")
    elif script == "ablate":
        stages = StagesConfig if "cpt" in values else AblationConfig
        (PressureConfig if "facts" in values else stages).from_dict(values)
    else:
        kinds = {"demo": DemoConfig, "prepare": PrepareConfig, "train": TrainConfig}
        kinds.get(script, RoundsConfig).from_dict(values)


def _check_extras(words: list[str], where: str) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for word in words:
        for extras in re.findall(r"\[(.*?)\]", word):
            for extra in extras.split(","):
                assert extra in setup["options.extras_require"], f"{where}: no extra {extra!r}"


def test_no_command_stands_in_a_fence_that_nobody_runs():
    for page in PAGES:
        for block in blocks(page):
            if block.language not in ("bash", "console"):
                assert not re.search(r"^(python -m|pip|make|launch/)", block.text, re.M), (
                    block.where
                )


def test_a_command_that_is_wrong_is_found(folder):
    def check(text: str, **marks: str) -> None:
        block = Block("page.md", 1, "bash", marks, text)
        for words in commands(block):
            _check(words, block, folder)

    run = "python -m launch.train --config=configs/sft.py --workdir=runs/a"
    check(f"{run} \\\n    --config.steps=30  # a note")
    for wrong, says in [
        (f"{run} --config.stpes=3", "did you mean"),
        (f"{run} --config.steps=0", "must be at least 1"),
        (f"{run} --profle", "did you mean"),
        (run.replace("sft.py", "sft.py:8x"), "none of demo"),
        (run.replace("launch.train", "launch.trian"), "there is no launch.trian"),
        ("python -m launch.train --config=configs/sft.py", NOT_GIVEN),
        ("python -m launch.ledger quary --ledger=a.sqlite", "no verb 'quary'"),
        ("make deemo", "make deemo"),
        ("pip install 'vcjax[tpus]'", "no extra 'tpus'"),
        ("kubectl apply -f x", "mark the fence"),
        ("launch/pod.sh a b -- launch.train --config=configs/sft.py", "--workdir: is missing"),
        (f'ssh HOST "{run} --config.stpes=3"', "did you mean"),
    ]:
        with pytest.raises((AssertionError, ValueError, UserError), match=re.escape(says)):
            check(wrong)
    check("kubectl apply -f x", hardware="a cluster")
