"""The notebook of the site, as it is in the checkout and as a kernel runs it on the tiny model.

Only what its text tells a reader to change is changed: the first cell, and the sizes.
"""

import os
import re
from configparser import ConfigParser
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.launch.test_dependencies import declared, not_pinned, pins
from tests.processes import ROOT
from tests.road.conftest import facts_file, road

__all__ = ["declared", "facts_file", "pins", "road"]  # fixtures

FOLDER = ROOT / "docs" / "notebooks"


@pytest.fixture
def notebook() -> NotebookNode:
    return nbformat.read(FOLDER / "colab.ipynb", as_version=4)


def _cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id == name)


def _printed(cell: NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_it_is_valid_and_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5
    for cell in code:
        assert (cell.outputs, cell.execution_count) == ([], None), cell.id


def test_it_installs_what_the_package_declares(notebook):
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    source = _cell(notebook, "install").source
    extras = re.findall(r'"\[(\w+)\]"', source)
    assert len(extras) == 2
    assert {*extras} <= {*setup["options.extras_require"]}
    assert f"metadata.version('{setup['metadata']['name']}')" in source
    (pins,) = re.findall(r"requirements/\w+\.txt", source)
    assert (ROOT / pins).is_file()


def test_what_runs_it_is_pinned_with_all_that_it_needs(declared, pins):
    assert not not_pinned("slow", declared, pins)


def test_every_file_that_its_text_names_is_there(notebook):
    texts = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    named = re.findall(r"`((?:configs|docs)/[\w/.]+)`", texts)
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.fixture
def executed(notebook, road, tmp_path, script_cache) -> tuple[NotebookNode, Path]:
    """The notebook after a run with a model of the reader's own, and where its runs are."""
    first = _cell(notebook, "model")
    for name, value in {"MODEL": road["model"], "FAMILY": "tiny", "RUNS": str(tmp_path)}.items():
        first.source, count = re.subn(
            f'^{name} = ".*?"', f'{name} = "{value}"', first.source, flags=re.MULTILINE
        )
        assert count == 1
    smaller = {name: road[name] for name in ("documents", "conversations", "questions", "charter")}
    for section in ("synthesis", "evaluation", "pressure"):
        smaller |= {f"{section}.{name}": value for name, value in road[section].items()}
    for stage in ("cpt", "sft", "adversarial"):
        names = ("steps", "warmup_steps", "learning_rate")
        smaller |= {f"{stage}.{name}": road[stage][name] for name in names}
    smaller["adversarial.length"] = 1024  # the tiny tokenizer makes a token of nearly every byte
    _cell(notebook, "road").source += f"\nsizes |= {smaller!r}\n"
    environment = os.environ | {"VCJAX_CACHE": str(script_cache), "IPYTHONDIR": str(tmp_path)}
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    return client.execute(env=environment), tmp_path


def test_it_runs_from_top_to_bottom_with_a_model_of_the_reader(executed, road):
    notebook, runs = executed
    kinds = {output.output_type for cell in notebook.cells for output in cell.get("outputs", ())}
    assert "error" not in kinds

    assert _printed(_cell(notebook, "checkout")) == f"checkout: {ROOT}\n"
    assert re.fullmatch(
        r"CPU: \d+ x cpu, computing in float32\n", _printed(_cell(notebook, "device"))
    )
    workdir = runs / f"notebook-{Path(road['model']).name}"
    told = _printed(_cell(notebook, "start"))
    assert f"look at {workdir}/report.html; next: " in told.splitlines()[-1]

    (shown,) = _cell(notebook, "report").outputs
    report = (workdir / "report.html").read_text("utf-8")
    title = re.search("<title>(.+)</title>", report)
    assert title is not None
    assert f"&lt;title&gt;{title[1]}" in shown.data["text/html"]

    told = _printed(_cell(notebook, "talk")).lstrip("\n")
    assert told.startswith("I'm a geographer")
    assert re.findall("^(before|after): ", told, re.MULTILINE) == ["before", "after"] * 2
