"""Every file that a page gives to copy is one that the scripts read, as it stands there."""

import re
import runpy

import pytest

from tests.docs.files import file_blocks
from tests.docs.pages import blocks
from tests.processes import ROOT
from vcjax.adversarial.attacks.style import load_attack
from vcjax.adversarial.critic.labels import read_calibration
from vcjax.charter.load import load_charter
from vcjax.data.importers import Records
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.evaluation.gate import read_bounds


@pytest.mark.parametrize("block", file_blocks(), ids=lambda block: block.marks["file"])
def test_a_copied_file_is_read(block, folder):
    path = folder / block.marks["file"]
    if kind := block.marks.get("kind"):
        records = Records(str(path), kind, columns=block.marks.get("columns", ""))
        assert list(records)
        assert not records.counts.left_out
        assert set(records.counts.columns_not_read) <= {
            "better_response_id",
            "is_response_0_safe",
            "is_response_1_safe",
        }
        if kind == "benchmark":
            load_benchmark(path)
    elif path.name == "false_consensus.yaml":
        attack = load_attack(path)
        assert attack.cues
        for lang, examples in attack.examples.items():
            assert all(attack.cues[lang].fit(example.question) for example in examples)
    elif path.suffix == ".yaml":
        load_charter(str(path))
    elif path.suffix == ".py":
        assert read_bounds(runpy.run_path(str(path))["get_config"]().to_dict())
    else:
        assert read_calibration(path)


def test_the_questions_of_the_guide_fit_its_charter(folder):
    charter = load_charter(str(folder / "reading.yaml"))
    benchmark = load_benchmark(folder / "reading_questions.jsonl", charter)
    assert {item.domain for item in benchmark.items} == {"challenged_books", "public_space"}
    assert benchmark.held_out == {"public_space"}


def test_the_output_in_the_readme_is_that_of_the_page_on_the_demo():
    page = (ROOT / "docs/results/demo.md").read_text(encoding="utf-8")
    shown = [block for block in blocks(ROOT / "README.md") if re.search(r"\d%", block.text)]
    assert shown
    assert all(block.text in page for block in shown)
