"""Tasks are found and loaded, or the mistake is named."""

import shutil

import pytest

from tests.evaluation.capability.conftest import write_tasks
from vcjax.core.errors import UserError
from vcjax.evaluation.capability.tasks import leaves, load_tasks, local_data


def test_tasks_groups_and_files_are_loaded_with_their_data(task_folder):
    tasks = load_tasks(["made_up", str(task_folder / "guesses.yaml")], str(task_folder))
    assert [task.task_name for task in leaves(tasks)] == ["colours", "sayings", "guesses"]
    assert all(len(task.eval_docs) == 12 for task in leaves(tasks))
    assert local_data(tasks) == [task_folder / "data.jsonl"]


@pytest.mark.parametrize("names", [["colours", "colours"], ["made_up", "sayings"]])
def test_a_task_that_is_asked_for_twice_is_named(task_folder, names):
    with pytest.raises(UserError, match=f"'{names[1]}' is named 2 times"):
        load_tasks(names, str(task_folder))


def test_a_folder_that_cannot_be_read_is_told_with_its_file(task_folder, tmp_path):
    with pytest.raises(UserError, match=r"task_path: .*nowhere: no such folder"):
        load_tasks(["colours"], str(tmp_path / "nowhere"))
    folder = shutil.copytree(task_folder, tmp_path / "broken")
    (folder / "bad.yaml").write_text("task: [bad\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.yaml: not a task \(ParserError: .* line 2"):
        load_tasks(["colours"], str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("data.jsonl", "gone.jsonl"), "FileNotFoundError: .*gone"),
        (("output_type: multiple_choice", "output_type: guessing"), "invalid output_type"),
        (("doc_to_text:", "doc_to_txt:"), "doc_to_txt"),
    ],
)
def test_a_task_that_cannot_be_loaded_is_named_with_its_fault(tmp_path, change, message):
    folder = write_tasks(tmp_path / "tasks", 2)
    path = folder / "colours.yaml"
    path.write_text(path.read_text("utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(UserError, match=rf"task colours: can't be loaded \(.*{message}"):
        load_tasks(["colours"], str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("metric: acc,", "metric: bleurt,"), "metric bleurt, which the harness doesn't have"),
        (("doc_to_text:", "unsafe_code: true\ndoc_to_text:"), "to run code that the model writes"),
        (("doc_to_text:", "doc_to_image: [picture]\ndoc_to_text:"), "images or sounds"),
    ],
)
def test_a_task_that_needs_what_is_not_supported_is_rejected(tmp_path, change, message):
    folder = write_tasks(tmp_path / "tasks", 2)
    path = folder / "colours.yaml"
    path.write_text(path.read_text("utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(UserError, match=f"task colours: needs .*{message}"):
        load_tasks(["colours"], str(folder))


def test_code_beside_a_task_leaves_nothing_behind(tmp_path):
    folder = write_tasks(tmp_path / "tasks", 2)
    (folder / "shorten.py").write_text("def text(doc):\n    return doc['question'][:9]\n")
    path = folder / "colours.yaml"
    text = path.read_text("utf-8").replace('"{{question}}"', "!function shorten.text")
    path.write_text(text, encoding="utf-8")
    before = sorted(folder.rglob("*"))
    (task,) = load_tasks(["colours"], str(folder))
    assert task.doc_to_text(task.eval_docs[0]) == task.eval_docs[0]["question"][:9]
    assert sorted(folder.rglob("*")) == before
