"""What long verbs write into a log file: each warning once, and nothing of other people's."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.processes import started
from tests.questions import benchmark_items, write_lines
from tests.road.conftest import facts_file, road

__all__ = ["facts_file", "road"]  # fixtures

PROGRESS = re.compile(r"^[\w ]+: .* so far")
NOISE = re.compile(
    r"pytorch|tensorflow|cuda|warning|deprecat|orbax|absl|^[WEI]\d{4}|^\S+\.py:\d+", re.IGNORECASE
)


@pytest.fixture(scope="module")
def untold(tiny_folder, tmp_path_factory) -> Path:
    """The tiny model with a template whose control tokens it doesn't know: a reason to warn."""
    folder = tmp_path_factory.mktemp("models") / "untold"
    shutil.copytree(tiny_folder, folder)
    template = (
        "{% for message in messages %}<|turn|>{{ message['role'] }}: {% if message['role'] == "
        "'assistant' %}{% generation %}{{ message['content'] }}{% endgeneration %}{% else %}"
        "{{ message['content'] }}{% endif %}\n{% endfor %}"
    )
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


@pytest.fixture
def flags(road, untold, tmp_path) -> dict[str, list[str]]:
    """By script, flags of a short run."""
    shared = {name: road[name] for name in ("documents", "conversations", "questions", "charter")}
    fields = {"family": "tiny", **shared}
    for section in ("synthesis", "evaluation", "pressure"):
        fields |= {f"{section}.{name}": value for name, value in road[section].items()}
    stage = {name: road["sft"][name] for name in ("steps", "batch_size", "warmup_steps")}
    for name, value in stage.items():
        fields |= {f"{each}.{name}": value for each in ("cpt", "sft", "adversarial")}
    fields["adversarial.length"] = 1024
    sizes = {
        "demo": fields,
        "train": {**stage, "conversations": road["conversations"], "charter": road["charter"]},
        "evaluate": {
            "charter": road["charter"],
            "benchmark": write_lines(tmp_path / "benchmark.jsonl", benchmark_items()),
            "max_tokens": 8,
            "model_family": "tiny",
        },
    }
    given = {
        script: [
            f"--workdir={tmp_path / script}",
            f"--config.model={untold}",
            *(f"--config.{name}={value}" for name, value in values.items()),
        ]
        for script, values in sizes.items()
    }
    given["train"].insert(0, "--config=configs/sft.py")
    given["chat"] = [f"--model={untold}", "--max_tokens=4", "--prompt=Why?"]
    return given


@pytest.mark.parametrize("script", ["chat", "train", "evaluate", "demo"])
def test_what_is_to_be_told_is_told_once(script, flags, script_cache, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stream:
        streams = {"stdout": stream.fileno(), "stderr": stream.fileno()}
        process = started(script, flags[script], script_cache, **streams)
        assert process.wait(timeout=300) == 0, log.read_text("utf-8")
    lines = [line for line in log.read_text("utf-8").splitlines() if not PROGRESS.match(line)]
    told = [line for line in lines if "are encoded as text" in line]
    assert len(told) == 1, told
    assert "<|turn|>" in told[0]
    assert [line for line in lines if NOISE.search(line) and line not in told] == []
    if script != "demo":  # two of its stages may read the same files
        assert [line for line, times in Counter(lines).items() if times > 1] == []
