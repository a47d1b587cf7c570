"""The sdist and the wheel: the same each time, and installed as a user installs them, far from the
checkout: scripts, configs, a road."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

from tests.processes import ROOT
from tests.questions import benchmark_items, seed_questions, write_lines
from tests.slow.debian import copy_checkout
from tests.tiny import write_charter
from vcjax import __version__

STAGES = ("cpt", "sft", "adversarial")
EPOCH = "1767225600"
"""Seconds, for SOURCE_DATE_EPOCH."""


def _build(checkout: Path, folder: Path, *, rights: int) -> Path:
    """Builds the sdist, and the wheel from it, of a copy whose files have these rights; returns the
    folder of both.

    Of a copy: setuptools would leave files of an earlier build in a checkout, and pack them.
    """
    source, dist = folder / "source", folder / "dist"
    shutil.copytree(checkout, source)
    for path in source.rglob("*"):
        path.chmod(rights | (0o111 if path.is_dir() or path.suffix == ".sh" else 0))
    command = ["-m", "build", "--outdir", str(dist), str(source)]
    _run([sys.executable, *command], SOURCE_DATE_EPOCH=EPOCH)
    return dist


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("checkout")
    copy_checkout(copy)
    return copy


@pytest.fixture(scope="module")
def dist(tmp_path_factory, checkout) -> Path:
    return _build(checkout, tmp_path_factory.mktemp("built"), rights=0o644)


@pytest.fixture(scope="module")
def launch(tmp_path_factory, dist) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a script with the interpreter of an environment that has the wheel and no checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = folder / "environment"
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    (wheel,) = dist.glob("vcjax-*.whl")
    _run([sys.executable, "-m", "venv", str(environment)])
    python = str(environment / "bin" / "python")
    # The pins are constraints: what is installed at all is what the wheel declares.
    pins = ROOT / "requirements" / "run.txt"
    _run([python, *pip, "install", "--constraint", str(pins), str(wheel)])
    elsewhere = folder / "elsewhere"
    # A user has packages of these names: neither may our scripts import them, nor they ours.
    for package in ("launch", "configs"):
        (elsewhere / package).mkdir(parents=True)
        (elsewhere / package / "__init__.py").write_text(f'raise ImportError("{package}")\n')
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean |= {"JAX_PLATFORMS": "cpu", "VCJAX_CACHE": str(folder / "cache")}

    def launch(script: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [python, "-m", f"vcjax.launch.{script}", *arguments],
            cwd=elsewhere,
            env=clean,
            capture_output=True,
            text=True,
            timeout=600,
        )

    return launch


def _run(command: list[str], **more: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=900, cwd="/", env=clean | more
    )
    assert result.returncode == 0, result.stderr[-2000:]


def test_built_again_later_and_elsewhere_both_have_the_same_bytes(dist, checkout, tmp_path):
    again = _build(checkout, tmp_path, rights=0o600)
    for name in ("vcjax-*.whl", "vcjax-*.tar.gz"):
        (one,), (other,) = dist.glob(name), again.glob(name)
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes(), name


def test_the_wheel_has_its_metadata_and_types_and_the_sdist_what_it_is_built_from(dist):
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert "vcjax/py.typed" in archive.namelist()
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        described = Parser().parsestr(archive.read(name).decode())
    assert described["Version"] == __version__
    assert "Typing :: Typed" in described.get_all("Classifier", [])
    assert {"cuda12", "cuda13", "tpu"} <= set(described.get_all("Provides-Extra", []))
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"setup.py", "CHANGELOG.md", "requirements/run.txt", "launch/pod.sh"}
    assert wanted <= names
    assert not any(name.startswith("tests/") for name in names)


def test_every_script_explains_itself(launch):
    scripts = sorted(
        path.stem
        for path in (ROOT / "launch").glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
    )
    assert {"demo", "train", "convert"} <= set(scripts)
    for script in scripts:
        shown = launch(script, "--help")
        assert shown.returncode == 0, (script, shown.stderr)
        assert f"launch.{script}" in shown.stdout or "flags:" in shown.stdout


def test_a_model_is_converted(launch, tiny_folder, tmp_path):
    made = launch("convert", f"--src={tiny_folder}", f"--dst={tmp_path}/c", "--to=checkpoint")
    assert made.returncode == 0, made.stderr
    assert re.search(f"next: \\S+ -m vcjax.launch.chat --model={tmp_path}/c\n", made.stderr)
    back = launch("convert", f"--src={tmp_path}/c", f"--dst={tmp_path}/hf", "--to=hf")
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "hf" / "model.safetensors").is_file()


def test_the_benchmarks_are_only_in_a_checkout(launch):
    ended = launch("bench", "train")
    assert ended.returncode == 2
    assert "in a checkout" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_config_that_no_package_has_ends_in_one_line(launch):
    ended = launch("demo", "--config=configs/dome.py")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert "configs/dome.py" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_whole_road_on_the_packaged_config(launch, tiny_folder, tmp_path):
    settings = {
        "model": str(tiny_folder),
        "family": "tiny",
        "charter": str(write_charter(tmp_path / "charter.yaml")),
        "questions": write_lines(tmp_path / "questions.jsonl", seed_questions()),
        **{f"{stage}.steps": "3" for stage in STAGES},
        **{f"{stage}.checkpoint_every": "2" for stage in STAGES},
        "synthesis.benchmark": "",
        "synthesis.attempts": "40",
        "synthesis.attacks": "dilemma",
        "synthesis.answers": "2",
        "synthesis.brief": "False",
        "synthesis.top_p": "1.0",
        "synthesis.actor_tokens": "48",
        "synthesis.actor_temperature": "1.0",
        "synthesis.critic_tokens": "400",
        "evaluation.benchmark": write_lines(tmp_path / "benchmark.jsonl", benchmark_items()),
        "evaluation.max_tokens": "16",
        "evaluation.judge_tokens": "400",
    }
    given = [f"--config.{name}={value}" for name, value in settings.items()]
    workdir = tmp_path / "road"
    road = ["--config=configs/demo.py", f"--workdir={workdir}", *given]
    first = launch("demo", *road)
    assert first.returncode == 0, first.stderr
    assert (workdir / "report.html").is_file()
    again = launch("demo", *road)
    assert again.returncode == 0, again.stderr
    assert launch("verify", str(workdir / "adversarial")).returncode == 0
