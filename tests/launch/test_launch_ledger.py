"""`launch.ledger` from the command line."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.adversarial.attempts import attempt, call, decide, fill
from tests.scripts import ran
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.roles.role import Reply
from vcjax.roles.verdict import Verdict


@pytest.fixture
def run(script_cache):
    """Runs `launch.ledger`; returns its lines, and its line of error where it isn't to end well."""

    def lines(*arguments: object, code: int = 0) -> list[str]:
        given = [str(argument) for argument in arguments]
        ended, out, error = ran("ledger", given, script_cache)
        assert ended == code, (out, error)
        if code == 2:
            assert out == ""
        return (out if code == 0 else error).splitlines()

    return lines


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "ledger.sqlite"
    fill(path, range(6))
    with Ledger(path) as ledger:
        call(ledger, attempt(6).id, "critic/0", Reply.failed("timeout", "after 9 s"))
        decide(ledger, attempt(6), verdict=Verdict("unscored", "critic: timeout"), query="为何？")
    return path


def test_a_ledger_is_queried_while_a_run_writes_to_it(run, path):
    flag = f"--ledger={path}"
    with Ledger(path) as ledger:
        decide(ledger, attempt(7))
        assert run(flag, "--limit=2")[-1] == "2 of 8 attempts"
        assert run("query", flag, "--where", "outcome=timeout", "--fields=reason,query") == [
            "  reason           query",
            "  critic: timeout    为何？",
            "1 of 1 attempts",
        ]
        assert run("query", flag, "--where", "kind=accepted", "--count") == ["7"]
        assert run("query", flag, "--by=lang,kind", "--where", "number<=6")[1:] == [
            "  en    accepted         4",
            "  zh    accepted         2",
            "  zh    unscored         1",
        ]


def test_an_attempt_is_shown_and_exported_with_every_stage(run, path, tmp_path):
    shown = run("show", attempt(1).id, f"--ledger={path}")
    assert "kind            accepted" in shown
    assert [line.split(":")[0] for line in shown if line.startswith("--- call")] == [
        "--- call attacker",
        "--- call actor/0",
        "--- call critic/0",
    ]
    prompt = shown.index("--- prompt of actor/0, user")
    assert shown[prompt + 1] == "    为什么?"
    out = tmp_path / "out.jsonl"
    told = run("export", f"--ledger={path}", "--where=score=", f"--out={out}", "--calls")
    card = tmp_path / "out.README.md"
    assert told == [f"{out}: 1 attempts; {card} warns of what is in them"]
    (record,) = map(json.loads, out.read_text("utf-8").splitlines())
    assert (record["id"], record["query"]) == (attempt(6).id, "为何？")
    assert record["candidates"] == [{"by": "actor", "answer": "因为。", "kind": "accepted"}]
    assert [each["detail"] for each in record["calls"]] == ["after 9 s"]
    front, _, text = card.read_text("utf-8").removeprefix("---\n").partition("---\n")
    assert yaml.safe_load(front)["tags"] == ["not-for-all-audiences"]
    assert "`out.jsonl`: 1 attempts of a ledger where `score=`" in text
    assert "may be hateful, false or inciting" in text
    assert "forbid training other models" in text


def test_shards_are_merged_and_a_conflict_is_an_unmet_gate(run, path, tmp_path):
    other, into = tmp_path / "other.sqlite", tmp_path / "all.sqlite"
    fill(other, range(6, 9))
    lines = run("merge", f"--into={into}", path, other, code=3)
    assert lines == [
        f"not met: {into}: 1 attempt(s) differ between the ledgers and were not merged: "
        f"{attempt(6).id}"
    ]
    assert run("query", f"--ledger={into}", "--count") == ["9"]
    assert "--- prompt of actor/0, user" in run("show", attempt(8).id, f"--ledger={into}")


def test_a_ledger_of_a_version_without_prompts_is_shown_without_them(run, path):
    with closing(sqlite3.connect(path)) as connection:
        for table in ("prompts", "messages"):
            connection.execute(f"DROP TABLE {table}")
    shown = run("show", attempt(1).id, f"--ledger={path}")
    assert "--- prompt" not in "\n".join(shown)
    fill(path, range(7, 8))  # which continues it
    assert "--- prompt of actor/0, user" in run("show", attempt(7).id, f"--ledger={path}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shwo", "x"], "'shwo': no such verb; did you mean 'show'?"),
        (["query"], "--ledger: name the ledger"),
        (["query", "--ledger=none.sqlite"], "none.sqlite: no such ledger"),
        (["show", "--ledger=none.sqlite"], "show: takes the attempt's id beside its flags"),
        (["merge", "a.sqlite"], "--into: name the ledger"),
        (["query", "--wher=x"], "unknown flag --wher"),
    ],
)
def test_a_mistake_is_one_line(run, arguments, message):
    (line,) = run(*arguments, code=2)
    assert line.startswith(f"error: {message}")


def test_how_often_the_filters_are_right_is_printed_for_a_users_labels(run, tmp_path):
    labels = tmp_path / "labels.jsonl"
    answers = {"Both sides have a point.": "good", "I can't help with that.": "refusal"}
    labels.write_text(
        "".join(
            json.dumps(
                {"id": text, "lang": "en", "question": "?", "answer": text, "labels": [label]}
            )
            + "\n"
            for text, label in answers.items()
        ),
        encoding="utf-8",
    )
    head, *rows = run("filters", labels)
    assert head.split() == ["split", "language", "filter", "precision", "recall"]
    assert len(rows) == 2 * 4
    assert rows[0].split()[:5] == ["test", "both", "refusal", "1/1", "="]
    assert rows[1].split() == ["test", "both", "lecture", "–", "–"]
