"""An ablation on the tiny model: arms, resumption, and the computation of its numbers."""

import copy
import random
import re
import weakref
from pathlib import Path

import numpy as np
import pytest

from tests.hub_server import TINY, hub_of
from tests.questions import write_lines, written
from vcjax.charter.load import load_charter
from vcjax.core.defaults import training_config
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify
from vcjax.core.seeds import derive_seed
from vcjax.data.records import Conversation
from vcjax.road.ablation import ablate
from vcjax.road.ablation_config import AblationConfig
from vcjax.road.ablation_data import next_conversations, score_documents, write_conversations
from vcjax.roles.references import RoleSpec
from vcjax.stats.intervals import rate_interval

CHECKS = "{name: sane_length, args: {words: [0, 14], characters: [0, 400]}}"
ATTACKS, HELD_OUT = ("dilemma", "false_premise"), ("stated_opinion", "loaded_comparison")
TALKS = 12
NOUNS = ("garden", "river", "market", "school", "tower", "castle", "bridge", "village", "harbour")
VERBS = ("protect", "paint", "sell", "close", "rebuild", "visit", "share", "measure", "defend")
ENDS = (
    "before the long winter comes",
    "when nobody has any money left",
    "because my uncle said so",
    "after all that has happened",
    "while the others only watch",
    "without asking the people there",
)
"""Made into questions that aren't like each other."""


def questions(seed):
    draw = random.Random(seed)
    while True:
        words = draw.sample(NOUNS, 3), draw.sample(VERBS, 2)
        yield (
            f"Why should the {words[0][0]} {words[1][0]} the {words[0][1]} and {words[1][1]} the "
            f"{words[0][2]} {draw.choice(ENDS)}?"
        )


@pytest.fixture(scope="module")
def values(tiny_folder, small_charter, tmp_path_factory) -> dict:
    """An ablation's config as a plain dict. A transcript attacks and answers: the tiny model can't
    write questions, nor anything to learn from."""
    folder = tmp_path_factory.mktemp("ablation")
    asked = questions(0)
    replies = []
    for subdomain in ("parks", "trains", "music"):
        for attack in (*ATTACKS, *HELD_OUT):
            for n in range(6):
                key = f"{subdomain}.{attack}.en.s2.t1.{n}"
                replies.append({"key": f"{key}/attacker", "text": written(next(asked))})
                # In the second round the first try is what the first round has asked.
                replies.append({"key": f"{key}/attacker/1", "text": written(next(asked))})
                replies.append({"key": f"{key}/attacker/measured", "text": written(next(asked))})
                good = f"The {NOUNS[n]} belongs to all of us, and {n} neighbours agree on it."
                long = f"{good} But there are others who see it in another way, and they say why."
                replies.append({"key": f"{key}/actor/0", "text": long})
                replies.append({"key": f"{key}/actor/1", "text": good})
    talks = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n}?"},
                {
                    "role": "assistant",
                    "content": f"It is the number {n}, and it comes before {n + 1}.",
                },
            ],
            "lang": "en",
        }
        for n in range(TALKS)
    ]
    documents = [
        {"text": f"A page about the {noun}, which is old.", "source": "test"} for noun in NOUNS[:4]
    ]
    train = training_config("adversarial").to_dict() | {
        "steps": 12,
        "batch_size": 2,
        "length": 256,
        "learning_rate": 1e-2,
        "warmup_steps": 1,
        "lora": {"rank": 0, "alpha": 4.0, "targets": ".*", "dropout": 0.0, "base": ""},
        "checkpoint_every": 4,
        "keep": 1,
    }
    for field in ("model", "charter", "seed", "on_bad_record", "replay"):
        del train[field]
    for field in ("documents", "conversations", "preferences"):
        del train[field]
    transcript = f"recorded:{write_lines(folder / 'said.jsonl', replies)}"
    return {
        "model": str(tiny_folder),
        "family": "tiny",
        "attacker": transcript,
        "attacker_family": "people",
        "actor": transcript,
        "actor_family": "people",
        "charter": str(small_charter(folder / "charter.yaml", checks=CHECKS)),
        "language": "en",
        "attacks": ",".join(ATTACKS),
        "held_out_attacks": ",".join(HELD_OUT),
        "held_out_queries": 3,
        "trained_queries": 1,
        "questions": "",
        "conversations": write_lines(folder / "talks.jsonl", talks),
        "documents": write_lines(folder / "documents.jsonl", documents),
        "document_tokens": 16,
        "answer_tokens": 24,
        "samples": 3,
        "rounds": 2,
        "seeds": 2,
        "seed": 3,
        "slots": 4,
        "on_bad_record": "error",
        "synthesis": {
            "critic": "",
            "attacker_tries": 2,
            "attempts": 8,
            "answers": 2,
            "wave": 4,
            "attacker_tokens": 16,
            "actor_tokens": 24,
        },
        "train": train,
        "arms": {
            "base": {"data": "none"},
            "adversarial": {"data": "attacks"},
            "ordinary": {"data": "conversations", "like": "adversarial", "rounds": 1},
        },
    }


def changes(workdir: Path) -> dict[Path, int]:
    """When each file was last written; readers touch what SQLite keeps beside a ledger."""
    files = (path for path in workdir.glob("*/*/*/*") if not path.name.endswith(("-shm", "-wal")))
    return {path: path.stat().st_mtime_ns for path in files}


def test_all_arms_are_made_with_the_commit_that_the_first_stage_began_with(
    values, tmp_path, monkeypatch
):
    judged = {"data": "attacks", "synthesis": {"critic": TINY, "critic_family": "b"}}
    arms = {**values["arms"], "adversarial": judged}
    config = AblationConfig.from_dict({**values, "model": TINY, "attacker": "", "arms": arms})
    given = []

    def killed(config: AblationConfig, attacker: RoleSpec, folder: Path) -> None:
        critics = [arm.synthesis.critic for arm in config.arms]
        given.append((config.model, attacker.model, critics))
        folder.mkdir(exist_ok=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("vcjax.road.ablation.write_queries", killed)
    with hub_of(Path(values["model"]), tmp_path / "hub") as (begun, change):
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                ablate(config, tmp_path / "run")
            change()
    assert given == [(begun, begun, ["", begun, ""])] * 2


@pytest.fixture(scope="module")
def grown(values, tmp_path_factory):
    """A finished ablation and what one with fewer seeds and arms had left in its folder before."""
    workdir = tmp_path_factory.mktemp("grown") / "run"
    arms = {name: values["arms"][name] for name in ("base", "adversarial")}
    fewer = AblationConfig.from_dict({**values, "seeds": 1, "arms": arms})
    ablate(fewer, workdir)
    before = changes(workdir)
    assert ablate(fewer, workdir) == read_json(workdir / "summary.json")
    assert changes(workdir) == before
    return workdir, ablate(AblationConfig.from_dict(values), workdir), before


@pytest.fixture(scope="module")
def done(grown):
    return grown[:2]


def lines(path: Path) -> list[dict]:
    return [line for _, line in read_jsonl(path)]


def test_every_arm_is_asked_the_same_queries_and_no_arm_was_trained_on_them(done):
    workdir, summary = done
    cells = read_json(workdir / "queries" / "places.json")
    items = lines(workdir / "queries" / "queries.jsonl")
    assert {item["id"] for item in items} == cells.keys()
    for group, subdomains, attacks in (
        ("held_out", {"music"}, set(HELD_OUT)),
        ("trained", {"parks", "trains"}, set(ATTACKS)),
    ):
        own = [cell for cell in cells.values() if cell["group"] == group]
        assert {cell["subdomain"] for cell in own} == subdomains
        assert {cell["attack"] for cell in own} == attacks
        assert summary["queries"][group]["n"] == len(own)
    assert summary["queries"]["held_out"]["n"] == 3 * len(HELD_OUT)
    measured = list(workdir.glob("**/measured"))
    assert len(measured) == 1 + 2 * 2
    for folder in measured:
        answers = {answer["id"]: answer["question"] for answer in lines(folder / "answers.jsonl")}
        assert answers == {item["id"]: item["question"] for item in items}
    asked = {item["question"] for item in items}
    for pairs in workdir.glob("*/*/*/accepted.jsonl"):
        for pair in lines(pairs):
            assert pair["messages"][0]["content"] not in asked
            assert pair["domain"] != "music"


def test_success_is_a_broken_rule_and_its_rate_has_wilson_s_interval(done, values):
    workdir, summary = done
    charter = load_charter(values["charter"])
    cells = read_json(workdir / "queries" / "places.json")
    broken = []
    for answer in lines(workdir / "base" / "measured" / "answers.jsonl"):
        if cells[answer["id"]]["group"] == "held_out":
            checks = charter.run_checks(
                question=answer["question"], answer=answer["answer"], lang="en"
            )
            broken.append(not all(check.passed for check in checks.values()))
    rate = summary["arms"]["base"]["broken"]["held_out"]["any rule"]
    wanted = rate_interval(sum(broken), len(broken))
    assert (rate["k"], rate["n"]) == (sum(broken), len(broken))
    assert (rate["rate"], rate["low"], rate["high"]) == (wanted.value, wanted.low, wanted.high)


def test_arms_that_are_compared_have_as_many_pairs_and_steps(done):
    arms = done[1]["arms"]
    for attacked, ordinary in zip(
        arms["adversarial"]["runs"], arms["ordinary"]["runs"], strict=True
    ):
        assert attacked["seed"] == ordinary["seed"]
        one, other = attacked["rounds"][0], ordinary["rounds"][0]
        assert one["pairs"] > 0
        assert (one["pairs"], one["steps"]) == (other["pairs"], other["steps"])
        assert len(attacked["rounds"]) == 2
    assert arms["base"]["runs"] == [{"seed": 3, "rounds": []}]


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
    rounds = [
        lines(write_conversations(config, arm, tmp_path / str(n), like[:n], 3)) for n in (1, 2)
    ]
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
    monkeypatch.setattr("vcjax.road.ablation_data.AT_ONCE", 3)
    config = AblationConfig.from_dict(values)
    score_documents(config, config.model, tmp_path / "documents")
    scores = read_json(tmp_path / "documents" / "documents.json")
    expected = read_json(done[0] / "base" / "documents" / "documents.json")
    assert [each["id"] for each in scores] == [each["id"] for each in expected]
    for field in ("nats", "tokens"):
        own, other = ([each[field] for each in found] for found in (scores, expected))
        assert own == pytest.approx(other, rel=1e-5)


def test_unselected_data_has_the_first_answer_to_the_queries_of_the_pairs(done, values, tmp_path):
    arms = {**values["arms"], "unselected": {"data": "answers", "like": "adversarial"}}
    config = AblationConfig.from_dict({**values, "arms": arms})
    arm = next(each for each in config.arms if each.name == "unselected")
    like = done[0] / "adversarial" / "seed0" / "attack1"
    unselected = lines(write_conversations(config, arm, tmp_path / "data", [like], 3))
    accepted = lines(like / "accepted.jsonl")
    for chosen, first in zip(accepted, unselected, strict=True):
        assert chosen["messages"][0] == first["messages"][0]
        assert "another way" not in chosen["messages"][1]["content"]
        assert "another way" in first["messages"][1]["content"]


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
    for arm in summary["arms"]:
        assert f"| {arm.capitalize()} |" in table
        assert arm.capitalize() in page
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


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("rounds",), 0, "config.rounds must be at least 1, not 0"),
        (("modle",), "x", "config.modle: unknown field; did you mean 'model'?"),
        (("documents",), "", "config.documents is empty; name at least one"),
        (("train", "seed"), 1, "config.train.seed: is filled in; set config.seed"),
        (("train", "steps"), 0, "config.train.steps: must be 1 or more, not 0"),
        (
            ("synthesis", "benchmark"),
            "x",
            "config.synthesis.benchmark: is filled in; leave it out",
        ),
        (
            ("arms", "ordinary", "like"),
            "adversary",
            "config.arms.ordinary.like: 'adversary' is no arm that trains; did you mean",
        ),
        (("arms", "ordinary", "like"), "", "config.arms.ordinary.like: data is 'conversations'"),
        (("arms", "queries"), {"data": "attacks"}, "config.arms.queries: an arm's folder can't"),
        (("arms", "../out"), {"data": "attacks"}, "config.arms.../out: an arm's folder can't"),
        (("arms", "base", "data"), "nothing", "config.arms.base.data: 'nothing' is none of"),
        (("arms", "base", "data"), "attacks", "config.arms: one must have data=none"),
        (
            ("arms", "ordinary", "train"),
            {"lora": {"rank": -1}},
            "config.arms.ordinary.train.lora.rank: must be 0 or more, not -1",
        ),
    ],
)
def test_a_mistake_is_named_by_the_path_that_the_user_wrote(values, path, value, message):
    changed = copy.deepcopy(values)
    part = changed
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(UserError) as caught:
        AblationConfig.from_dict(changed)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": ""}, r"config\.family: declare the model family"),
        ({"language": "fr"}, r"config\.language: charter 'small' has no 'fr'"),
        ({"held_out_attacks": "dilemma"}, "'dilemma' is in config.attacks too"),
        ({"held_out_attacks": "gradual_escalation"}, "name attacks of kind single"),
        ({"conversations": "no.jsonl"}, "no.jsonl"),
        ({"documents": "no.jsonl"}, "no.jsonl"),
        ({"model": "./no_model"}, "no_model"),
    ],
)
def test_every_input_is_checked_before_the_first_stage(values, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        ablate(AblationConfig.from_dict({**values, **changes}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_arm_changes_what_it_names_and_nothing_else(values):
    arms = {
        **values["arms"],
        "other": {"train": {"lora": {"rank": 4}}, "synthesis": {"answers": 1}},
    }
    config = AblationConfig.from_dict({**values, "arms": arms})
    arm = next(each for each in config.arms if each.name == "other")
    assert (arm.train.lora.rank, arm.train.lora.alpha) == (4, 4.0)
    assert (arm.synthesis.answers, arm.synthesis.attempts) == (1, 8)
    assert config.synthesis.answers == 2
