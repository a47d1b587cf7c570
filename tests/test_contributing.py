"""What CONTRIBUTING.md tells a newcomer to do works, and the files for visitors agree."""

import json
import re

import pytest
import yaml

import vcjax
from tests.processes import ROOT
from vcjax.adversarial.attacks.style import load_attack
from vcjax.charter import checks
from vcjax.charter.parts import CheckUse

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str, heading: str) -> str:
    """The first block of a language below a heading."""
    _, _, rest = GUIDE.partition(f"## {heading}\n")
    found = re.search(rf"```{language}\n(.*?)```", rest, re.DOTALL)
    assert found is not None, heading
    return found[1]


def test_the_attack_style_is_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(block("yaml", "An attack style"), encoding="utf-8")
    assert load_attack(path).turn_kind.attempts_in_a_row == 1


def test_the_check_is_one(monkeypatch):
    monkeypatch.setattr(checks, "CHECKS", dict(checks.CHECKS))
    exec(block("python", "A check"), vars(checks) | {"__name__": checks.__name__})
    (use,) = yaml.safe_load(block("yaml", "A check"))["checks"]
    asks_once = checks.CHECKS[CheckUse.model_validate(use).name].function
    assert asks_once("?", "Yes. Why?", "en", **use["args"]).passed
    assert not asks_once("?", "为什么？怎么会？", "zh", **use["args"]).passed
    with pytest.raises(ValueError, match="has no argument 'moste'"):
        CheckUse.model_validate({"name": use["name"], "args": {"moste": 1}})


def test_every_file_that_it_names_is_there():
    named = re.findall(r"`((?:vcjax|tests|launch|configs)/[\w/.]+)`", GUIDE)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == vcjax.__version__
    assert f"\n## {vcjax.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "version = attr: vcjax.__version__\n" in (ROOT / "setup.cfg").read_text()


def test_the_container_installs_what_is_here():
    folder = ROOT / ".devcontainer"
    build = json.loads((folder / "devcontainer.json").read_text())["build"]
    assert (folder / build["dockerfile"]).is_file()
    for path in re.findall(r"/tmp/(requirements/\S+)", (folder / "Dockerfile").read_text()):
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("name", ["bug.yml", "idea.yml"])
def test_an_issue_form_asks_for_something(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text())
    assert {"name", "description", "body"} <= set(form)
    needed = [part for part in form["body"] if part.get("validations", {}).get("required")]
    assert needed
    for part in form["body"]:
        for option in part["attributes"].get("options", []):
            assert isinstance(option, (str, dict)), f"{option!r} needs quotes"
