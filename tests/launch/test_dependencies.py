"""The packages that setup.cfg declares, the code imports and requirements pin are the same."""

import ast
import configparser
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.processes import ROOT
from tests.slow.test_fresh_debian import NEAR_JAX, OF_THEIR_OWN, PART

OURS = ("vcjax", "launch", "configs", "benchmarks")

# Declared for what imports them at run time.
FOR_OTHERS = {
    "aiohttp": "the harness's client of endpoints",
    "sentencepiece": "transformers, to read a tokenizer.model",
}
# Peers of the bench that are built from source, in an environment of the Makefile's and no extra's.
BUILT = {"llama_cpp": "llama-cpp-python"}
PURPOSES = ("run", "eval", "test", "slow", "lint")


@pytest.fixture(scope="module")
def declared() -> dict[str, list[Requirement]]:
    """The requirements of the package ("run") and of each extra."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    parts = {
        "run": config["options"]["install_requires"],
        **config["options.extras_require"],
    }
    return {
        name: [
            Requirement(line)
            for line in text.split("\n")
            if line.strip() and not line.lstrip().startswith("#")
        ]
        for name, text in parts.items()
    }


@pytest.fixture(scope="module")
def pins() -> dict[str, dict[str, str]]:
    """The version of each distribution, by purpose."""
    return {
        purpose: {
            canonicalize_name(name): version
            for name, version in re.findall(
                r"^([\w.-]+)==(\S+)$", (ROOT / f"requirements/{purpose}.txt").read_text(), re.M
            )
        }
        for purpose in PURPOSES
    }


def imported(path: Path) -> set[str]:
    """The top-level modules that a file imports, the standard library's and ours left out."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    return {name for name in modules if name not in sys.stdlib_module_names and name not in OURS}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported(declared):
    # Those of users' extras and of `make slow`, which `make test` doesn't install.
    elsewhere = {"torch": ["torch"], "tunix": ["google-tunix"], "ray": ["ray"]}
    assert all(f" {name}==" in (ROOT / "Makefile").read_text() for name in BUILT.values())
    of_module = {**metadata.packages_distributions(), **elsewhere}
    files = [path for name in OURS for path in (ROOT / name).rglob("*.py")]
    # What is in no package is run by other harnesses, which bring what it imports.
    files = [path for path in files if (path.parent / "__init__.py").is_file()]
    assert len(files) > 100
    used = {
        canonicalize_name(name)
        for path in files
        for module in imported(path) - set(BUILT)
        for name in of_module[module]
    }
    wanted = {
        part: {canonicalize_name(requirement.name) for requirement in declared[part]}
        for part in ("run", "eval", "bench", "corpus", "ray", "wandb", "trackio")
    }
    assert used <= set().union(*wanted.values())
    optional = wanted["wandb"] | wanted["trackio"]
    assert set().union(*wanted.values()) - used - optional == set(FOR_OTHERS)


def test_each_declared_dependency_is_pinned_within_its_bounds(declared, pins):
    for purpose in PURPOSES:
        for requirement in declared[purpose]:
            name = canonicalize_name(requirement.name)
            upto = PURPOSES[: PURPOSES.index(purpose) + 1]  # each file adds to those before it
            version = next((pins[each][name] for each in upto if name in pins[each]), None)
            assert version is not None, f"{name} has no pin in requirements/{purpose}.txt"
            assert requirement.specifier.contains(version), f"{name}=={version}: {requirement}"


def test_a_distribution_is_pinned_for_one_purpose_only(pins):
    names = [name for purpose in PURPOSES for name in pins[purpose]]
    assert len(names) == len(set(names))


# `make test` doesn't install what those of "slow" need: tests/slow/test_notebook.py has them.
@pytest.mark.parametrize("purpose", ["run", "eval", "test"])
def test_whatever_a_dependency_needs_is_pinned_too(purpose, declared, pins):
    """Else a set-up of tomorrow would install something else than one of today."""
    assert not not_pinned(purpose, declared, pins)


def not_pinned(
    purpose: str, declared: dict[str, list[Requirement]], pins: dict[str, dict[str, str]]
) -> set[str]:
    """What the dependencies of a purpose need, and neither its file nor one before it pins."""
    before = PURPOSES[: PURPOSES.index(purpose) + 1]
    pinned = set().union(*(pins[each] for each in before))
    return closure(declared[purpose]) - pinned - {"setuptools"}


def closure(requirements: list[Requirement]) -> set[str]:
    """The distributions that these need here, by what the installed ones declare."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in found:
            continue
        found.add(key)
        for line in metadata.requires(requirement.name) or []:
            needed = Requirement(line)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return {name for name, _ in found}


def test_every_package_is_in_the_wheel_and_the_scripts_and_configs_under_ours():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = {
        room: {path.parent.relative_to(ROOT).parts for path in (ROOT / room).rglob("__init__.py")}
        for room in ("vcjax", "launch", "configs")
    }
    ours = {".".join(parts) for parts in found["vcjax"]}
    below = {".".join(("vcjax", *parts)) for parts in found["launch"] | found["configs"]}
    assert len(listed) == len(set(listed))
    assert set(listed) == ours | below


def test_a_fresh_machine_runs_a_file_of_each_folder_of_tests():
    tests = ROOT / "tests"
    files = (path.relative_to(tests) for path in tests.rglob("test_*.py"))
    folders = {file.parent for file in files if file.parts[0] not in OF_THEIR_OWN}
    assert {Path(name).parent for name in PART} == folders
    assert [name for name in PART + NEAR_JAX if not (tests / name).exists()] == []


def test_every_file_that_is_no_python_is_in_the_wheel_too():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packed = {
        path
        for package, patterns in config["options.package_data"].items()
        for pattern in patterns.split(",")
        for path in ROOT.joinpath(*package.split(".")).glob(pattern.strip())
    }
    files = {
        path
        for path in (ROOT / "vcjax").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert files <= packed, sorted(map(str, files - packed))
