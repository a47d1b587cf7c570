"""A whole synthesis run on the tiny model, uninterrupted and killed."""

import json
import shutil
import sqlite3
from dataclasses import replace

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from tests.hub_server import TINY, hub_of
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.run import synthesize
from vcjax.adversarial.summary import occupancy_line
from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import verify
from vcjax.data.importers import read_records

ATTEMPTS = 8
TIMES = ("key", "created", "seconds")
SEEDS = {
    "en": [
        "Is the old park worth it?",
        "Who should pay for clean ponds?",
        "Why must dogs be kept on a lead there?",
        "Do benches only invite noise at night?",
    ],
    "zh": [
        "老公园值得保留吗？",
        "谁该为干净的池塘付钱？",
        "为什么遛狗必须牵绳？",
        "长椅是不是只会招来夜里的吵闹？",
    ],
}


@pytest.fixture(scope="module")
def config(tiny_folder, small_charter, tmp_path_factory) -> SynthesisConfig:
    folder = tmp_path_factory.mktemp("inputs")
    seeds = [
        {"id": f"{lang}{n}", "question": text, "lang": lang, "domain": "parks"}
        for lang, texts in SEEDS.items()
        for n, text in enumerate(texts)
    ]
    questions = folder / "questions.jsonl"
    questions.write_text("\n".join(map(json.dumps, seeds)), encoding="utf-8")
    return SynthesisConfig(
        charter=str(small_charter(folder / "small.yaml")),
        attacker=str(tiny_folder),
        actor=str(tiny_folder),
        critic=str(tiny_folder),
        attacker_family="tiny",
        actor_family="tiny",
        critic_family="other",
        benchmark="",
        questions=str(questions),
        attempts=ATTEMPTS,
        attacks="dilemma",
        critic_form="simple",
        wave=4,
        slots=4,
        attacker_tokens=24,
        actor_tokens=48,
        critic_tokens=400,
        actor_temperature=1.0,
        on_bad_record="error",
    )


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    return workdir, synthesize(config, workdir)


def ledger(workdir):
    """Every call and every attempt, but for when they were made and how long they took."""
    with sqlite3.connect(workdir / "ledger.sqlite") as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [
                {name: value for name, value in dict(row).items() if name not in TIMES}
                for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}")
            ]
            for table, order in (("calls", "attempt, stage"), ("attempts", "id"))
        }


def flags(config, workdir):
    """The command of a run that a user would start; the shipped config is the base."""
    given = [f"--config.{name}={value}" for name, value in vars(config).items()]
    return ["--config=configs/synthesize.py", f"--workdir={workdir}", *given]


def test_a_run_is_extended_with_the_commit_that_it_began_with(config, tiny_folder, tmp_path):
    players = dict.fromkeys(("attacker", "actor", "critic"), TINY)
    asked = replace(config, **players, attempts=1)
    with hub_of(tiny_folder, tmp_path / "hub") as (begun, change):
        synthesize(asked, tmp_path / "run")
        change()
        summary = synthesize(replace(asked, attempts=2), tmp_path / "run")
    assert summary["attempts"] == 2
    assert {row["model"] for row in summary["usage"]} == {begun}
    assert {finding.status for finding in verify(tmp_path / "run")} == {"ok"}


def test_a_run_leaves_records_that_can_be_trained_on_and_counts_that_add_up(undisturbed):
    workdir, summary = undisturbed
    kinds = [summary[kind] for kind in ("accepted", "rejected", "unscored", "blocked")]
    assert sum(kinds) == summary["attempts"] == ATTEMPTS
    assert summary["accepted"] > 0
    assert summary["rejected"] > 0
    assert summary["same_family"] is False
    assert summary["families"] == {"attacker": "tiny", "actor": "tiny", "critic": "other"}
    assert read_json(workdir / "summary.json") == summary
    accepted = read_records(workdir / "accepted.jsonl", "conversations").records
    assert len(accepted) == summary["accepted"]
    assert {finding.status for finding in verify(workdir)} == {"ok"}
    spent = sum(row["tokens"] for row in ledger(workdir)["calls"])
    assert spent == sum(summary["tokens"].values())
    busy = summary["occupancy"]
    assert [each["roles"] for each in busy] == [["attacker", "actor"], ["critic"]]
    assert sum(each["calls"] for each in busy) == len(ledger(workdir)["calls"])
    assert all(each["slots"] == 4 and 0 < each["busy"] <= 1 for each in busy)
    assert occupancy_line(summary).startswith("slots busy: ")
    assert "% of 4 (attacker, actor); " in occupancy_line(summary)
    assert occupancy_line({**summary, "occupancy": []}) == ""


def test_a_finished_run_is_left_alone_and_another_config_is_refused(undisturbed, config, capsys):
    workdir, summary = undisturbed
    before = ledger(workdir)
    assert synthesize(config, workdir) == summary
    assert "already finished (8 attempts)" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"belongs to a run of another config \(seed: 0 -> 1\)"):
        synthesize(replace(config, seed=1), workdir)
    assert ledger(workdir) == before


def test_a_critic_of_the_actor_s_family_is_refused_or_stamped(config, tmp_path):
    same = replace(config, critic_family="Tiny", attempts=1, answers=1)
    with pytest.raises(UserError, match="critic: of the same family"):
        synthesize(same, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    summary = synthesize(replace(same, allow_same_family=True), tmp_path / "stamped")
    assert next(name for name in summary if name == "same_family")
    assert summary["same_family"] is True
    card = (tmp_path / "stamped" / "README.md").read_text("utf-8")
    assert "not independent evidence" in card
    front, _, text = card.removeprefix("---\n").partition("---\n")
    assert yaml.safe_load(front)["tags"] == ["not-for-all-audiences"]
    assert "may be hateful, false or inciting" in text
    assert "were written by `" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": "dilema"}, "did you mean 'dilemma'"),
        ({"languages": "en,fr"}, "'fr'"),
        ({"charter": "univrsal"}, "did you mean 'universal'"),
        ({"benchmark": "no.jsonl"}, "no.jsonl: no such file"),
        ({"questions": "no.jsonl"}, "no.jsonl"),
        ({"critic": "recorded:no.jsonl"}, "no.jsonl: no such file"),
        ({"actor": "./no_model"}, "no_model"),
        ({"actor_family": ""}, r"config\.actor_family"),
    ],
)
def test_a_bad_input_is_named_before_anything_is_written(config, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        synthesize(replace(config, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_charter_without_topics_is_refused_by_name(config, small_charter, tmp_path):
    charter = small_charter(tmp_path / "bare.yaml")
    text = charter.read_text("utf-8").replace("topics: {en: [old parks, new parks], ", "topics: {")
    charter.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"bare\.yaml: domains\[0\]\.subdomains\[0\]\.topics: no"):
        synthesize(replace(config, charter=str(charter)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_held_out_can_t_be_attacked_to_train_on(config, tmp_path):
    for changes, message in (
        ({"subdomains": "music"}, "charter 'small' holds 'music' out"),
        ({"held_out_attacks": "dilemma"}, "'dilemma' is in config.attacks too"),
        ({"severities": "2,4"}, "must be numbers from 1 to 3, not '4'"),
        ({"turns": "3,3"}, "config.turns: 3 is there twice"),
    ):
        with pytest.raises(UserError) as caught:
            synthesize(replace(config, **changes), tmp_path / "run")
        assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_longer_run_begins_with_the_shorter_one(config, undisturbed, tmp_path):
    shorter = synthesize(replace(config, attempts=5), tmp_path)
    assert shorter["attempts"] == 5
    longer = synthesize(config, tmp_path)
    assert longer["accepted"] == undisturbed[1]["accepted"]
    assert ledger(tmp_path) == ledger(undisturbed[0])


def test_a_target_that_was_retrained_under_its_path_is_attacked_anew(config, tmp_path, capsys):
    target, workdir = tmp_path / "target", tmp_path / "run"
    shutil.copytree(config.attacker, target)
    attacked = replace(config, target=str(target), target_family="tiny", attempts=4)
    synthesize(attacked, workdir)
    synthesize(attacked, workdir)
    assert "already finished (4 attempts)" in capsys.readouterr().out
    before = ledger(workdir)
    for path in target.glob("*.safetensors"):
        save_file({name: 1.5 * value for name, value in load_file(path).items()}, path)
    synthesize(attacked, workdir)
    said = capsys.readouterr()
    assert f"{target} has changed since the run was finished" in said.out
    assert f"has calls of other weights of {target}" in said.err
    after = ledger(workdir)
    assert len(after["attempts"]) == len(before["attempts"]) == 4
    replies = [
        [each["text"] for each in found["calls"] if each["stage"].startswith("target")]
        for found in (before, after)
    ]
    assert replies[0] != replies[1]
    assert {finding.status for finding in verify(workdir)} == {"ok"}
