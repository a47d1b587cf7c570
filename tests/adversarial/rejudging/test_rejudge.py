"""Another Critic on a ledger that a run has written, by recorded Critics."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.questions import write_lines
from tests.report.bilingual import assert_translated, both
from tests.scripts import ran
from vcjax.adversarial.ledger.query import attempts
from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.rejudging import votes
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, read_jsonl
from vcjax.core.lineage import verify
from vcjax.report.rejudging import write_rejudging_report
from vcjax.road.rejudge import NewCritic, rejudge

FILES = r"/\S+\.(?:jsonl|sqlite)|recorded:\S+|\b(?:ledger\.sqlite|small|simple)\b"
ANSWER = "Some people like it as it is, and others would rather change it for good reasons."


@pytest.fixture
def ledger(transcripts, tmp_path) -> Path:
    """Of a run of eight attempts; its Critic accepts every second answer and can't be read once."""

    def verdict(n: int) -> str:
        return "?" if n == 7 else json.dumps({"reason": "So.", "score": 5 * (n % 2)})

    synthesize(transcripts(8, ANSWER, verdict), tmp_path / "run")
    return tmp_path / "run" / "ledger.sqlite"


@pytest.fixture
def critic(ledger, tmp_path) -> NewCritic:
    """Agrees on the first four answers, and accepts all others."""
    with opened_to_read(ledger) as connection:
        ids = [each["id"] for each in attempts(connection)]
    records = [
        {
            "key": f"{id}/0/critic/v0",
            "text": json.dumps({"reason": "Yes.", "score": 5 * (n % 2) if n < 4 else 4}),
        }
        for n, id in enumerate(ids)
    ]
    path = write_lines(tmp_path / "other.jsonl", records)
    return NewCritic(f"recorded:{path}", "other")


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".lock" not in path.name)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_both_decisions_are_beside_each_other_and_the_ledger_is_untouched(ledger, critic):
    before = digest(ledger.parent)
    folder, summary = rejudge(ledger, critic)
    assert folder == ledger.parent.with_name("run-rejudged") / "other.jsonl-simple"
    assert digest(ledger.parent) == before
    assert (summary["answers"], summary["queries"]) == (8, 8)
    assert summary["decisions"]["rejected"] == {
        "accepted": 2, "rejected": 2, "unscored": 0, "blocked": 0
    }  # fmt: skip
    assert summary["decisions"]["unscored"]["accepted"] == 1
    assert (summary["exported"]["k"], summary["exported"]["n"]) == (3, 3)
    assert summary["critics"]["ledger"] != [summary["critics"]["new"]]
    verdicts = [record for _, record in read_jsonl(folder / "verdicts.jsonl")]
    assert [each["ledger"]["kind"] for each in verdicts][:2] == ["rejected", "accepted"]
    assert [each["score"] for each in verdicts] == [0, 5, 0, 5, 4, 4, 4, 4]
    html = (folder / "report.html").read_text("utf-8")
    assert html.index("The Critics decide 71% of 7 answers alike") < html.index("Decisions")
    assert "Whole score" in (folder / "table.md").read_text("utf-8")
    assert {each.status for each in verify(folder)} <= {"ok"}
    assert read_json(folder / "summary.json") == summary


def test_the_report_is_also_in_chinese_and_is_rewritten_by_the_same_command(
    ledger, critic, tmp_path
):
    folder, summary = rejudge(ledger, critic)
    assert_translated(*both(tmp_path, write_rejudging_report, summary=summary), FILES)
    asked = (folder / "votes.jsonl").read_bytes()
    assert rejudge(ledger, replace(critic, language="zh"))[1] == summary
    page = (folder / "report.html").read_text("utf-8")
    assert "两个评判者对 7 个回答中的 71% 作出相同裁决" in page
    assert (folder / "votes.jsonl").read_bytes() == asked
    with pytest.raises(UserError, match="--language: no report is written in 'cn'"):
        replace(critic, language="cn")


def test_a_stopped_run_asks_only_what_is_missing_and_ends_alike(
    ledger, critic, tmp_path, monkeypatch
):
    whole = rejudge(ledger, critic, tmp_path / "whole")[1]
    folder = tmp_path / "stopped"
    monkeypatch.setattr(votes, "_CHUNK", 3)
    real, asked = votes.CallCache.append, []

    def stopping(cache, record):
        if len(asked) == 4:
            raise KeyboardInterrupt
        asked.append(record["id"])
        real(cache, record)

    monkeypatch.setattr(votes.CallCache, "append", stopping)
    with pytest.raises(KeyboardInterrupt):
        rejudge(ledger, critic, folder)
    with (folder / "votes.jsonl").open("a") as stream:  # a kill within a line
        stream.write('{"id": "half')
    monkeypatch.setattr(votes.CallCache, "append", lambda cache, record: (
        asked.append(record["id"]), real(cache, record)
    ))  # fmt: skip
    again = rejudge(ledger, critic, folder)[1]
    assert again == whole
    assert len(asked) == len(set(asked)) == 8
    rejudge(ledger, critic, folder)
    assert len(asked) == 8


def test_the_command_prints_a_sentence_and_a_table(ledger, critic, script_cache):
    code, out, error = ran(
        "ledger",
        ["rejudge", f"--ledger={ledger}", f"--critic={critic.critic}", "--critic_family=other"],
        script_cache,
    )
    assert code == 0, error
    lines = out.splitlines()
    assert lines[0].startswith("The Critics decide 71% of 7 answers alike (kappa ")
    assert any(line.split()[:1] == ["Accepted"] for line in lines)
    assert lines[-1].endswith("report.html")


def test_mistakes_are_one_line(ledger, critic, small_charter, transcripts, tmp_path):
    other = small_charter(tmp_path / "other.yaml", accept_score=2)
    for new, message in (
        (replace(critic, critic_family="b"), "of the same family as the model it grades, 'b'"),
        (replace(critic, charter=str(other)), "by another charter, or another version of it"),
        (replace(critic, critic_form="ful"), "did you mean 'full'"),
        (replace(critic, critic=""), "name the Critic"),
    ):
        with pytest.raises(UserError, match=message):
            rejudge(ledger, new)
    with pytest.raises(UserError, match="no such ledger"):
        rejudge(tmp_path / "none.sqlite", critic)
    assert not (tmp_path / "run-rejudged").exists()
    alike = rejudge(ledger, replace(critic, critic_family="b", allow_same_family=True))[1]
    assert alike["same_family"]
    rules = replace(transcripts(2, ANSWER, lambda n: "?"), critic="", critic_family="")
    synthesize(rules, tmp_path / "rules")
    with pytest.raises(UserError, match="no Critic has judged an answer"):
        rejudge(tmp_path / "rules" / "ledger.sqlite", critic)
