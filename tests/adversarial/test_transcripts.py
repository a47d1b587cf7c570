"""All cells attacked from recorded transcripts: each is filled, or its reasons are stored."""

import json
from contextlib import contextmanager
from dataclasses import replace

import datasets
import pytest

from tests.adversarial.test_synthesize import flags
from tests.questions import CHECKED, written
from tests.scripts import ran
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.inputs import read_suite
from vcjax.adversarial.ledger.merge import merge
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.run import Run
from vcjax.data.importers import read_records

SUBDOMAINS = "ethnic_relations,religion,gender,human_rights,technology,governance"
ATTACKS = (
    "dilemma,false_premise,leading_question,opposing_framings,gradual_escalation,"
    "iterative_refinement"
)
ANSWERS = {
    "en": "Some people think that it should stay as it is, because they are used to it. Others "
    "think that it should change, and both have good reasons for what they say.",
    "zh": "有人认为应当保持现状，因为大家已经习惯了；也有人认为应当有所改变。双方都有自己的道理。",
}
REFUSAL = {"en": "I'm sorry, but I can't help with that.", "zh": "抱歉，我无法回答这个问题。"}
PLACES = {
    "en": ["lamp", "bench", "river", "bridge", "market", "school", "garden", "station"],
    "zh": ["路灯", "长椅", "河岸", "石桥", "集市", "学校", "花园", "车站"],
}
OWNERS = {
    "en": ["mayor", "baker", "teacher", "farmer", "driver", "doctor", "painter", "tailor"],
    "zh": ["镇长", "面包师", "老师", "农民", "司机", "医生", "画家", "裁缝"],
}
QUERIES = {
    "en": [
        "Why should the {owner} of {town}ville decide about the {place} in {street} street?",
        "Is it fair that a {owner} from {town}ville pays for every {place} along {street} avenue?",
        "Would you let some {owner} near {town}ville paint that {place} behind {street} square?",
        "What happens when one {owner} in {town}ville sells his {place} beside {street} lane?",
        "Who told our {owner} at {town}ville to close this {place} under {street} hill?",
    ],
    "zh": [
        "为什么{town}镇的{owner}可以决定{street}街上的{place}怎么用？",
        "{town}村的{owner}凭什么要替{street}路旁边的{place}付钱呢？",
        "你会不会让{town}乡某个{owner}去粉刷{street}广场后面那座{place}？",
        "要是{town}县有位{owner}卖掉了{street}巷口的{place}，后果会怎样？",
        "到底谁叫{town}区这名{owner}关闭{street}山下的{place}？",
    ],
}
NUMBERS = {
    "en": ["one", "two", "three", "four", "five", "six", "seven", "eight"],
    "zh": list("一二三四五六七八"),
}


def query(lang, n):
    """The n-th of 320 queries in a language; no two of them are near-duplicates.

    Of two in the same words at least three of the four nouns differ: they are the symbols of a code
    over GF(8) of minimum distance 3, of which the first two are free.
    """
    assert n < 320
    rest, template = divmod(n, 5)
    owner, place = divmod(rest, 8)
    doubled = (place << 1) ^ (0b1011 if place & 4 else 0)  # times x, modulo x^3 + x + 1
    return QUERIES[lang][template].format(
        place=PLACES[lang][place] * 2,
        owner=OWNERS[lang][owner] * 2,
        town=NUMBERS[lang][owner ^ place] * 3,
        street=NUMBERS[lang][owner ^ doubled] * 3,
    )


def said(cell, index, n, refuses):
    """What every role says in one attempt, by stage; `n` numbers the attempt in its language."""
    lang = cell.lang
    answer = REFUSAL[lang] if refuses else ANSWERS[lang]
    verdict = json.dumps({"reason": "So.", "score": 5})
    stages = {
        "attacker": written(query(lang, 2 * n)),
        "actor/0": answer,
        "critic/0": verdict,
        "critic/style": CHECKED,
    }
    if cell.attack == "gradual_escalation":
        stages |= {"attacker/t1": written(query(lang, 2 * n + 1))}
        stages |= {"actor/t1/0": answer, "critic/t1/0": verdict}
    if cell.attack == "iterative_refinement":
        stages |= {"actor/r0.0": REFUSAL[lang]}
    return [{"key": f"{cell.id}.{index}/{stage}", "text": text} for stage, text in stages.items()]


@pytest.fixture
def config(tmp_path):
    """A function from whether a cell's Actor refuses to a config with its transcript."""

    def made(refuses=lambda cell: False, attempts=4, **changes):
        transcript = tmp_path / "said.jsonl"
        config = SynthesisConfig(
            **dict.fromkeys(("attacker", "actor", "critic"), f"recorded:{transcript}"),
            **{"attacker_family": "a", "actor_family": "b", "critic_family": "c"},
            subdomains=SUBDOMAINS,
            attacks=ATTACKS,
            turns="2",
            critic_form="simple",
            answers=1,
            attempts=1000,
            per_cell=1,
            cell_attempts=attempts,
            wave=10,
            **changes,
        )
        counts = {"en": 0, "zh": 0}
        with transcript.open("w", encoding="utf-8") as stream:
            for cell in read_suite(config).cells():
                for index in range(attempts):
                    for record in said(cell, index, counts[cell.lang], refuses(cell)):
                        stream.write(json.dumps(record, ensure_ascii=False) + "\n")
                    counts[cell.lang] += 1
        return config

    return made


def test_every_cell_fills(config, tmp_path):
    summary = synthesize(config(), tmp_path / "run")
    assert summary["quota"] == {"per_cell": 1, "cells": 72, "met": 72, "unmet": []}
    assert len(summary["cells"]) == 72
    assert summary["accepted"] == summary["attempts"] == 60 + 2 * 12
    assert summary["framings"] == {"consistent": 12, "inconsistent": 0, "undecided": 0}
    assert summary["sources"] == {"attacker": summary["attempts"]}
    assert {lang: counts["accepted"] for lang, counts in summary["languages"].items()} == {
        "en": 42,
        "zh": 42,
    }
    accepted = read_records(tmp_path / "run" / "accepted.jsonl", "conversations").records
    assert len(accepted) == summary["accepted"]
    assert len({record.messages[0]["content"] for record in accepted}) == len(accepted)
    turns = {len(record.messages) for record in accepted if ".gradual_escalation." in record.id}
    assert turns == {4}
    pairs = read_records(tmp_path / "run" / "preferences.jsonl", "preferences").records
    assert len(pairs) == 12  # the answers that refinement was against


def test_the_records_load_by_name_in_datasets(config, tmp_path):
    summary = synthesize(config(), tmp_path / "run")
    for name in ("accepted", "preferences"):
        loaded = datasets.load_dataset(
            str(tmp_path / "run"), name, split="train", cache_dir=str(tmp_path / "cache")
        )
        assert len(loaded) == summary["records"][f"{name}.jsonl"]
        assert {"id", "messages"} <= set(loaded.column_names)


def test_what_can_t_be_met_ends_with_code_3_all_outputs_and_the_reasons(
    config, tmp_path, script_cache
):
    given = config(lambda cell: (cell.subdomain, cell.lang) == ("religion", "zh"), attempts=2)
    workdir = tmp_path / "run"
    code, out, error = ran("synthesize", flags(given, workdir), script_cache)
    assert code == 3, error
    assert "not met: " in error
    assert "6 of 72 cells ended without their 1 pairs (" in error
    assert "zh: 0 accepted of 2 attempts; " in error
    summary = read_json(workdir / "summary.json")
    assert {cell["spent"] for cell in summary["quota"]["unmet"]} == {"cell_attempts"}
    assert {cell["subdomain"] for cell in summary["quota"]["unmet"]} == {"religion"}
    assert summary["reasons"]["rejected"] == {"actor: refusal": 12}
    assert f"{summary['attempts']} attempts" in out
    for kind in ("accepted", "rejected", "unscored", "blocked"):
        assert sum(cell[kind] for cell in summary["cells"]) == summary[kind]
    assert len(list(read_jsonl(workdir / "rejected.jsonl"))) == 12
    card = (workdir / "README.md").read_text("utf-8")
    assert "6 of 72 cells have fewer than their 1 pairs." in card
    assert "| rejected | actor: refusal | 12 |" in card
    again, out, _ = ran("synthesize", flags(given, workdir), script_cache)
    assert again == 3
    assert "already finished" in out


def test_a_raised_budget_continues_where_cells_are_missing_pairs(config, tmp_path):
    refused = {"religion"}

    def refuses(cell):
        return cell.subdomain in refused

    given = config(refuses, attempts=4)
    first = synthesize(replace(given, cell_attempts=2), tmp_path / "run")
    assert first["quota"]["met"] == 60
    more = synthesize(given, tmp_path / "run")
    assert more["quota"]["met"] == 60
    assert more["accepted"] == first["accepted"]
    assert more["rejected"] == 2 * first["rejected"]


@contextmanager
def lock_workdir(workdir):
    with Run("test", workdir, {}).opened():
        (workdir / "config.json").unlink()  # what a run that has just begun has, too
        yield


def test_a_second_run_on_a_workdir_is_refused(config, tmp_path):
    given = config()
    with lock_workdir(tmp_path / "run"), pytest.raises(UserError, match="another run is using it"):
        synthesize(given, tmp_path / "run")


def test_bad_records_are_an_error_or_set_aside(config, tmp_path):
    questions = tmp_path / "questions.jsonl"
    good = {"id": "1", "question": "Is the old market square worth its price?", "lang": "en"}
    questions.write_text(json.dumps(good) + '\n{"question": 3}\n', encoding="utf-8")
    given = replace(config(), questions=str(questions))
    with pytest.raises(UserError, match=r"questions\.jsonl:2"):
        synthesize(given, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    synthesize(replace(given, on_bad_record="quarantine"), tmp_path / "run")
    [(_, aside)] = read_jsonl(tmp_path / "run" / "quarantined.jsonl")
    assert (aside["line"], aside["raw"]) == (2, '{"question": 3}')


def test_shards_cover_the_plan_and_their_merged_ledgers_are_one_run(config, tmp_path):
    given = config()
    whole = synthesize(given, tmp_path / "whole")
    parts = [synthesize(replace(given, shard=f"{n}/3"), tmp_path / f"shard{n}") for n in (1, 2, 3)]
    assert [part["quota"]["cells"] for part in parts] == [24, 24, 24]
    assert sum(part["attempts"] for part in parts) == whole["attempts"]
    (tmp_path / "merged").mkdir()
    ledgers = [tmp_path / f"shard{n}" / "ledger.sqlite" for n in (1, 2, 3)]
    merge(tmp_path / "merged" / "ledger.sqlite", ledgers)
    merged = synthesize(given, tmp_path / "merged")
    assert merged["tokens"] == whole["tokens"]
    for name in ("attempts", "accepted", "quota", "languages", "cells", "reasons"):
        assert merged[name] == whole[name]
    ids = [
        sorted(record.id for record in read_records(path, "conversations").records)
        for path in (tmp_path / "merged" / "accepted.jsonl", tmp_path / "whole" / "accepted.jsonl")
    ]
    assert ids[0] == ids[1]


def test_what_two_shards_asked_is_taken_once(config, tmp_path):
    given = config()
    path = tmp_path / "said.jsonl"
    records = [record for _, record in read_jsonl(path)]
    first, second = (
        cell
        for cell in read_suite(given).cells()
        if cell.id.startswith("gender.dilemma.") or cell.id.startswith("technology.dilemma.")
        if cell.lang == "en"
    )
    texts = {record["key"]: record["text"] for record in records}
    texts[f"{second.id}.0/attacker"] = texts[f"{first.id}.0/attacker"]
    lines = [json.dumps({"key": key, "text": text}) for key, text in texts.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    for cell in (first, second):
        own = replace(given, subdomains=cell.subdomain, attacks=cell.attack, languages="en")
        assert synthesize(own, tmp_path / cell.subdomain)["accepted"] == 1
    (tmp_path / "merged").mkdir()
    ledgers = [tmp_path / cell.subdomain / "ledger.sqlite" for cell in (first, second)]
    merge(tmp_path / "merged" / "ledger.sqlite", ledgers)
    both = replace(given, subdomains="gender,technology", attacks="dilemma", languages="en")
    merged = synthesize(both, tmp_path / "merged")
    assert merged["reasons"]["rejected"] == {"attacker: asked in another shard": 1}
    assert merged["quota"]["met"] == 2  # the one that is missing was made
    accepted = read_records(tmp_path / "merged" / "accepted.jsonl", "conversations").records
    assert len(accepted) == merged["accepted"] == merged["attempts"] - 1
    assert len({record.messages[0]["content"] for record in accepted}) == len(accepted)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/99"])
def test_a_shard_that_can_t_be_is_a_mistake(config, tmp_path, shard):
    with pytest.raises(UserError, match=r"config\.shard"):
        synthesize(replace(config(), shard=shard), tmp_path / "run")
