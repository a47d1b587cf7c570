"""The released facts in the harness: the same accuracy as by our own scores."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.evaluation.capability.conftest import datasets_of_its_own
from vcjax.adversarial.pressure.probes import Probe, neutral_probes, score_probes
from vcjax.adversarial.pressure.release import write_benchmark
from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_jsonl
from vcjax.evaluation.capability.run import CapabilityConfig, measure_capability
from vcjax.evaluation.capability.tasks import load_tasks
from vcjax.evaluation.facts.fact import FOLDER, load_facts
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.roles.local import LocalRole

__all__ = ["datasets_of_its_own"]  # a fixture

ASKED = 24
"""Documents of each task, so that one answer is more than the third digit."""


@pytest.fixture(scope="module")
def config(tiny_folder) -> CapabilityConfig:
    names = ("facts_en", "facts_zh")
    return CapabilityConfig(
        str(tiny_folder), names, task_path=str(FOLDER / "tasks"), apply_chat_template=True
    )


@pytest.fixture(scope="module")
def role(tiny_folder) -> LocalRole:
    return LocalRole(ModelPool(EngineConfig()), str(tiny_folder), family="tiny")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Path:
    """The benchmark under one style of one turn and one of several; few of its conversations."""
    folder = tmp_path_factory.mktemp("benchmark") / "facts"
    count = write_benchmark(folder, ["threat", "gradual_escalation"])
    assert count == 800 * 2 * 2 * 2
    path = folder / "tasks" / "pressed.jsonl"
    records = [record for _, record in read_jsonl(path)]
    assert len(records) == count
    write_jsonl(path, records[:64])
    return folder


def probes_of(benchmark: Path, lang: str) -> list[Probe]:
    records = [dict(record) for _, record in read_jsonl(benchmark / "tasks" / "pressed.jsonl")]
    own = [record for record in records if record["lang"] == lang]
    tuples = ("messages", "answers")
    return [Probe(**{**each, **{name: tuple(each[name]) for name in tuples}}) for each in own]


def test_neutral_accuracy_is_ours_to_the_third_digit(config, role, tmp_path) -> None:
    summary = measure_capability(replace(config, limit=ASKED), tmp_path / "run")
    differences: dict[tuple[str, int], float] = {}
    for _, record in read_jsonl(tmp_path / "run" / "answers.jsonl"):
        pair = record["task"], record["document"]
        differences[pair] = record["answer"][0] - differences.get(pair, 0.0)
    for lang in ("en", "zh"):
        probes = [next(neutral_probes(fact, lang, [0])) for fact in load_facts()[:ASKED]]
        ours = score_probes(role, probes, tmp_path / lang)
        name = f"facts_{lang}"
        task = summary["tasks"][name]
        assert (task["n"], task["n_total"]) == (ASKED, 800)
        accuracy = sum(value > 0 for value in ours.values()) / ASKED
        assert 0.1 < accuracy < 0.9  # or a constant would agree
        assert task["metrics"]["acc,none"]["value"] == pytest.approx(accuracy, abs=5e-4)
        # The harness counts the line feed before an answer as the answer's, but both have it.
        for index, probe in enumerate(probes):
            assert abs(differences[name, index]) == pytest.approx(abs(ours[probe.id]), abs=1e-3)


def test_accuracy_under_pressure_is_ours_by_direction(config, role, benchmark, tmp_path) -> None:
    names = ("facts_pressed_en", "facts_pressed_zh")
    tasks = replace(config, tasks=names, task_path=str(benchmark))
    summary = measure_capability(tasks, tmp_path / "run")
    for lang in ("en", "zh"):
        probes = probes_of(benchmark, lang)
        assert {len(probe.messages) > 1 for probe in probes} == {True, False}
        ours = score_probes(role, probes, tmp_path / lang)
        metrics = summary["tasks"][f"facts_pressed_{lang}"]["metrics"]
        for name, claims in (("", ("false", "true")), ("_claimed_false", ("false",))):
            right = [ours[each.id] > 0 for each in probes if each.claimed in claims]
            value = metrics[f"acc{name},none"]["value"]
            assert value == pytest.approx(sum(right) / len(right), abs=5e-4)


def test_conversations_without_a_template_are_refused(config, benchmark, tmp_path) -> None:
    plain = replace(config, apply_chat_template=False, task_path=str(benchmark))
    with pytest.raises(UserError, match="facts_pressed_en: is of conversations; give --apply_chat"):
        measure_capability(replace(plain, tasks=("facts_pressed_en",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_exists_is_left_as_it_is(tmp_path) -> None:
    (tmp_path / "mine").write_text("notes")
    with pytest.raises(UserError, match="exists; name a new folder"):
        write_benchmark(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_pressed_tasks_without_conversations_name_how_to_write_them() -> None:
    with pytest.raises(UserError, match=r"pressed\.jsonl: README\.md, 'Under pressure', has how"):
        load_tasks(["facts_pressed_en"], str(FOLDER / "tasks"))


def test_all_questions_and_sentences_are_those_that_we_score() -> None:
    (en, zh) = load_tasks(["facts_en", "facts_zh"], str(FOLDER / "tasks"))
    for lang, task in (("en", en), ("zh", zh)):
        probes = [next(neutral_probes(fact, lang, [0])) for fact in load_facts()]
        documents = list(task.test_docs())
        for probe, document in zip(probes, documents, strict=True):
            own = {name: document[name] for name in asdict(probe)}
            expected = asdict(probe)
            assert own == {**expected, "messages": list(expected["messages"])} | {
                "answers": list(expected["answers"])
            }
            assert document["question"] == probe.messages[-1]["content"]
            assert document["choices"] == list(probe.answers)[::-1]
