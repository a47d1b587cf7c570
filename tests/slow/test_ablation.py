"""An ablation on the tiny model: arms, resumption, and the computation of its numbers."""

import re
import weakref

import numpy as np
import pytest

from tests.questions import write_lines
from tests.slow.ablations import ATTACKS, HELD_OUT, TALKS, changes, done, grown, lines, values
from vcjax.charter.load import load_charter
from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import verify
from vcjax.core.seeds import derive_seed
from vcjax.data.records import Conversation
from vcjax.report.formats import capitalised
from vcjax.road.ablation.arms import ArmRun
from vcjax.road.ablation.config import AblationConfig
from vcjax.road.ablation.data import next_conversations, write_ordinary, write_unselected
from vcjax.road.ablation.documents import overlapping, score_documents
from vcjax.road.ablation.run import ablate
from vcjax.stats.intervals import RATE, mean_interval

__all__ = ["done", "grown", "values"]  # fixtures


def test_every_arm_is_asked_the_same_queries_and_no_arm_was_trained_on_them(done):
    workdir, summary = done
    cells = read_json(workdir / "queries" / "places.json")
    items = lines(workdir / "queries" / "queries.jsonl")
    assert {item["id"] for item in items} == cells.keys()
    for group, subdomains, attacks in (
        ("held_out", {"music"}, set(HELD_OUT)),
        ("trained", {"parks", "trains"}, set(ATTACKS)),
        ("clean", {"music"}, {"plain_question"}),
    ):
        own = [cell for cell in cells.values() if cell["group"] == group]
        assert {cell["subdomain"] for cell in own} == subdomains
        assert {cell["attack"] for cell in own} == attacks
        assert summary["queries"][group]["n"] == len(own)
    assert summary["queries"]["held_out"]["n"] == 3 * len(HELD_OUT)
    measured = list(workdir.glob("**/measured"))
    assert len(measured) == 2 + 4 * 2
    for folder in measured:
        answers = {answer["id"]: answer["question"] for answer in lines(folder / "answers.jsonl")}
        assert answers == {item["id"]: item["question"] for item in items}
    asked = {item["question"] for item in items}
    for pairs in workdir.glob("*/*/*/accepted.jsonl"):
        for pair in lines(pairs):
            assert pair["messages"][0]["content"] not in asked
            assert pair["domain"] != "music"


@pytest.mark.parametrize("group", ["held_out", "clean"])
def test_a_rate_is_that_of_broken_rules_and_its_interval_is_by_topic(done, values, group):
    workdir, summary = done
    charter = load_charter(values["charter"])
    cells = read_json(workdir / "queries" / "places.json")
    broken, topics = [], []
    for answer in lines(workdir / "base" / "measured" / "answers.jsonl"):
        cell = cells[answer["id"]]
        if cell["group"] == group:
            checks = charter.run_checks(
                question=answer["question"], answer=answer["answer"], lang="en"
            )
            broken.append(not all(check.passed for check in checks.values()))
            topics.append(cell["topic"])
    rate = summary["arms"]["base"]["broken"][group]["any rule"]
    wanted = mean_interval(broken, topics, scale=RATE)
    assert (rate["k"], rate["n"], rate["topics"]) == (sum(broken), len(broken), len(set(topics)))
    assert (rate["rate"], rate["low"], rate["high"]) == (wanted.value, wanted.low, wanted.high)


def test_arms_that_are_compared_have_as_many_pairs_and_steps(done):
    arms = done[1]["arms"]
    for name in ("ordinary", "selected_plain", "unselected"):
        for attacked, other in zip(arms["adversarial"]["runs"], arms[name]["runs"], strict=True):
            assert attacked["seed"] == other["seed"]
            one, two = attacked["rounds"][0], other["rounds"][0]
            assert one["pairs"] > 0
            assert (one["pairs"], one["steps"]) == (two["pairs"], two["steps"])
            assert len(attacked["rounds"]) == 2
    for name in ("base", "persona"):
        assert arms[name]["runs"] == [{"seed": 3, "rounds": []}]


def test_the_persona_is_measured_on_the_base_model(done, values):
    workdir, summary = done
    base, persona = (
        read_json(workdir / name / "measured" / "config.json") for name in ("base", "persona")
    )
    assert (base.pop("persona"), persona.pop("persona")) == (False, True)
    assert base == persona
    assert summary["arms"]["persona"]["perplexity"] == summary["arms"]["base"]["perplexity"]
    planned = {tuple(each["arms"]) for each in summary["differences"] if each["planned"]}
    assert ("adversarial", "persona") in planned


def test_plain_questions_are_answered_and_selected_like_attacks(done, values):
    workdir, summary = done
    folder = workdir / "selected_plain" / "seed0"
    charter = load_charter(values["charter"])
    pairs = lines(folder / "data1" / "conversations.jsonl")
    for pair in pairs:
        assert pair["id"].split(".")[1] == "plain_question"
        question, answer = (message["content"] for message in pair["messages"])
        checks = charter.run_checks(question=question, answer=answer, lang="en")
        assert all(check.passed for check in checks.values())
    # One in two answers is good, so that as many pairs as attacks gave took twice the attempts.
    (run,) = summary["arms"]["selected_plain"]["runs"][0]["rounds"]
    (first, _) = summary["arms"]["adversarial"]["runs"][0]["rounds"]
    assert (run["attempts"], run["accepted"]) == (2 * first["attempts"], len(pairs))
    asked = {item["question"] for item in lines(workdir / "queries" / "queries.jsonl")}
    assert not asked & {pair["messages"][0]["content"] for pair in pairs}


def test_a_selection_that_was_stopped_continues_with_the_attempts_that_it_had(done, values):
    config = AblationConfig.from_dict(values)
    arm = next(each for each in config.arms if each.name == "selected_plain")
    stage = ArmRun(config, done[0], "tiny", arm, 0).stages()[0]
    before = read_json(done[0] / stage.name / "summary.json")
    stage.do()
    assert read_json(done[0] / stage.name / "summary.json") == before


def test_the_second_round_attacks_what_the_first_one_has_trained(done):
    workdir = done[0]
    first, second = (
        read_json(workdir / "adversarial" / "seed0" / f"attack{n}" / "config.json") for n in (1, 2)
    )
    trained = str(workdir / "adversarial" / "seed0" / "train1")
    assert second["target"] == trained != first["target"]
    config = read_json(workdir / "adversarial" / "seed0" / "train2" / "config.json")
    assert config["model"] == trained
    assert config["replay"].endswith("attack1/accepted.jsonl")


def test_ordinary_rounds_take_other_conversations(done, values, tmp_path):
    config = AblationConfig.from_dict(values)
    arm = next(each for each in config.arms if each.name == "ordinary")
    like = [done[0] / "adversarial" / "seed0" / f"attack{n}" for n in (1, 2)]
    for n in (1, 2):
        write_ordinary(config, arm, tmp_path / str(n), like[:n], 3)
    rounds = [lines(tmp_path / str(n) / "conversations.jsonl") for n in (1, 2)]
    assert rounds[0] == lines(done[0] / "ordinary" / "seed0" / "data1" / "conversations.jsonl")
    assert [len(records) for records in rounds] == [
        len(lines(folder / "accepted.jsonl")) for folder in like
    ]
    ids = [record["id"] for records in rounds for record in records]
    assert len(set(ids)) == min(len(ids), TALKS)


def test_of_ordinary_conversations_only_those_that_are_taken_are_in_memory(tmp_path):
    like = []
    for number, pairs in enumerate((3, 2)):
        like.append(tmp_path / str(number))
        like[-1].mkdir()
        write_lines(like[-1] / "accepted.jsonl", [{}] * pairs)
    alive: list[weakref.ref] = []
    most = 0

    def records(count: int):
        nonlocal most
        for n in range(count):
            turn = {"role": "assistant", "content": str(n)}
            record = Conversation(str(n), (turn,), "en")
            alive.append(weakref.ref(record))
            most = max(most, sum(each() is not None for each in alive))
            yield record

    def taken(count: int) -> list[str]:
        return [each["id"] for each in next_conversations(records(count), like, 3)]

    shuffled = sorted(map(str, range(200)), key=lambda id: derive_seed(3, "ordinary", id))
    assert taken(200) == shuffled[3:5]
    assert most <= 3 + 2 + 2
    shuffled = sorted(map(str, range(4)), key=lambda id: derive_seed(3, "ordinary", id))
    assert taken(4) == [shuffled[3], shuffled[0]]


def test_documents_are_scored_some_at_a_time(done, values, tmp_path, monkeypatch):
    monkeypatch.setattr("vcjax.road.ablation.documents.AT_ONCE", 3)
    config = AblationConfig.from_dict(values)
    score_documents(config, config.model, tmp_path / "documents")
    scores = read_json(tmp_path / "documents" / "documents.json")
    expected = read_json(done[0] / "base" / "documents" / "documents.json")
    assert [each["id"] for each in scores] == [each["id"] for each in expected]
    for field in ("nats", "tokens"):
        own, other = ([each[field] for each in found] for found in (scores, expected))
        assert own == pytest.approx(other, rel=1e-5)


def test_unselected_data_has_the_first_answer_to_any_query_that_was_asked(done, values, tmp_path):
    config = AblationConfig.from_dict(values)
    arm = next(each for each in config.arms if each.name == "unselected")
    synthesis = ArmRun(config, done[0], "tiny", arm, 0).synthesis(1)
    # Every other attempt there was rejected.
    like = done[0] / "selected_plain" / "seed0" / "questions1"
    accepted = {record["id"] for record in lines(like / "accepted.jsonl")}
    rejected = {record["id"]: record["query"] for record in lines(like / "rejected.jsonl")}
    for name in ("a", "b"):
        write_unselected(config, synthesis, tmp_path / name, like)
    found, again = (lines(tmp_path / name / "conversations.jsonl") for name in ("a", "b"))
    assert found == again
    assert len(found) == len(accepted)
    drawn = {record["id"] for record in found}
    assert drawn & accepted
    assert drawn & rejected.keys()
    for record in found:
        # The Actor's first answers are those that the rules reject.
        assert "another way" in record["messages"][1]["content"]
        assert record["messages"][0]["content"] == rejected.get(
            record["id"], record["messages"][0]["content"]
        )
    own = lines(done[0] / "unselected" / "seed0" / "data1" / "conversations.jsonl")
    attacked = lines(done[0] / "adversarial" / "seed0" / "attack1" / "accepted.jsonl")
    assert {record["id"].split(".")[1] for record in own} <= set(ATTACKS)
    assert len(own) == len(attacked)


def test_a_document_that_shares_a_sentence_with_what_an_arm_was_trained_on_is_left_out(
    done, values, tmp_path
):
    workdir, summary = done
    assert summary["documents_left_out"] == []
    trained_on = workdir / "adversarial" / "seed0" / "attack1" / "accepted.jsonl"
    question, answer = (each["content"] for each in lines(trained_on)[0]["messages"])
    fresh = "Nobody knows when the old mill was built, but its wheel still turns in spring."
    texts = {
        "exact": answer,
        "nearly": f"{answer.replace('belongs', 'Belongs')} {fresh}",
        "question": f"{fresh} {question}",
        "fresh": fresh,
    }
    documents = [{"id": id, "text": text, "source": "test"} for id, text in texts.items()]
    path = write_lines(tmp_path / "documents.jsonl", documents)
    config = AblationConfig.from_dict({**values, "documents": path})
    assert overlapping(config, [trained_on]) == ["exact", "nearly", "question"]


def test_documents_that_the_base_model_was_trained_on_are_refused(done, values, tmp_path):
    model = str(done[0] / "ordinary" / "seed0" / "train1")
    documents = str(done[0] / "ordinary" / "seed0" / "data1" / "conversations.jsonl")
    changed = {**values, "model": model, "documents": documents}
    with pytest.raises(UserError, match=r"^config\.documents: .*train1 was trained on .*data1"):
        ablate(AblationConfig.from_dict(changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_differences_are_those_of_the_same_queries(done):
    _, summary = done
    names = [tuple(record["arms"]) for record in summary["differences"]]
    assert ("adversarial", "ordinary") in names
    assert ("adversarial", "base") in names
    for record in summary["differences"]:
        for group, rules in record["broken"].items():
            for rule, change in rules.items():
                rates = [
                    summary["arms"][name]["broken"][group][rule]["rate"] for name in record["arms"]
                ]
                assert change["difference"] == pytest.approx(rates[0] - rates[1])
                assert change["low"] <= change["difference"] <= change["high"]
                assert np.mean(change["runs"]) == pytest.approx(change["difference"])


def test_the_table_and_the_report_have_what_the_summary_has(done):
    workdir, summary = done
    table = (workdir / "table.md").read_text("utf-8")
    page = (workdir / "report.html").read_text("utf-8")
    for arm in map(capitalised, summary["arms"]):
        assert f"| {arm} |" in table
        assert arm in page
    assert re.search(r"<title>Which rules .* learned, and from what", page)
    assert page.count("<details>") == 3
    assert page.count("<svg") == 1
    links = re.findall(r"""\b(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert all(link.startswith("#") for link in links)
    assert {finding.status for finding in verify(workdir)} == {"ok"}


def test_more_seeds_and_arms_extend_it_and_nothing_is_done_again(grown, values, capsys):
    workdir, summary, before = grown
    assert before
    assert changes(workdir).items() >= before.items()
    assert len(summary["arms"]["adversarial"]["runs"]) == 2
    assert ablate(AblationConfig.from_dict(values), workdir) == summary
    assert f"{workdir}: already finished" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"another config \(seed: 3 -> 4"):
        ablate(AblationConfig.from_dict({**values, "seed": 4}), workdir)


def test_a_finished_ablation_gets_its_report_in_chinese_and_nothing_is_done_again(grown, values):
    workdir, summary, _ = grown
    before = changes(workdir)
    ablate(AblationConfig.from_dict({**values, "report_language": "zh"}), workdir)
    assert '<html lang="zh">' in (workdir / "report.html").read_text("utf-8")
    assert changes(workdir) == before
    again = ablate(AblationConfig.from_dict(values), workdir)
    assert '<html lang="en">' in (workdir / "report.html").read_text("utf-8")
    # The times of the stages grow by that of seeing that they are done.
    for name in ("broken", "runs", "perplexities"):
        for arm, own in summary["arms"].items():
            assert again["arms"][arm][name] == own[name]
    assert again["differences"] == summary["differences"]
