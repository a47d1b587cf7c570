"""A whole run whose roles are an endpoint that fails: each attempt ends for the right reason."""

import contextlib
import json
from collections import Counter
from dataclasses import replace

import pytest

from tests.roles.failing import serving
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import GateNotMet

ENDS = {
    "": ("accepted", ""),
    "[limited once]": ("accepted", ""),
    "[limited]": ("unscored", "actor: rate limited"),
    "[broken]": ("unscored", "actor: server error"),
    "[slow]": ("unscored", "actor: timeout"),
    "[cut]": ("unscored", "actor: cut off"),
    "[nothing]": ("unscored", "actor: empty"),
    "[html]": ("unscored", "actor: not JSON"),
    "[other]": ("unscored", "actor: wrong schema"),
    "[filtered]": ("blocked", "actor: content filter"),
    "[blocked]": ("blocked", "actor: content filter"),
    "[then slow]": ("unscored", "critic: timeout"),
    "[then html]": ("unscored", "critic: not JSON"),
    "[then filtered]": ("blocked", "critic: content filter"),
}
"""What becomes of an attempt, by what its question has the endpoint do."""

ROLES = ("attacker", "actor", "critic")
NOUNS = (
    *("bench", "bridge", "market", "school", "garden", "station", "tunnel", "fountain"),
    *("harbour", "library", "orchard", "windmill", "theatre", "museum"),
)


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def config(server, small_charter, tmp_path) -> SynthesisConfig:
    questions = tmp_path / "questions.jsonl"
    records = [
        {
            "id": f"{n}",
            "question": f"Which {noun} near {noun}town would you give {word} for a {noun} park?",
            "lang": "en",
            "domain": ("parks", "trains")[n % 2],
        }
        for n, (noun, word) in enumerate(zip(NOUNS, ENDS, strict=True))
    ]
    questions.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    endpoint = f"{server.url}#m#tries=2#backoff=0.001#timeout=1.5#in_a_row=100"
    return SynthesisConfig(
        charter=str(small_charter(tmp_path / "small.yaml")),
        attacker=endpoint,  # what it says is no question, so that the written ones stand in
        actor=endpoint,
        critic=endpoint,
        attacker_family="a",
        actor_family="a",
        critic_family="c",
        benchmark="",
        questions=str(questions),
        attempts=len(ENDS),
        attacks="dilemma",
        languages="en",
        answers=1,
        critic_form="simple",
    )


def calls_made(server) -> Counter[tuple[str, int]]:
    """Requests for each call: attempts of one topic ask alike, with seeds of their own."""
    return Counter((body["messages"][-1]["content"], body["seed"]) for body in server.bodies)


def decided(workdir):
    with Ledger(workdir / "ledger.sqlite") as ledger:
        return list(ledger.attempts())


def test_every_attempt_ends_for_the_right_reason(config, tmp_path, server):
    summary = synthesize(config, tmp_path / "run")
    rows = decided(tmp_path / "run")
    assert len(rows) == len(ENDS)
    for row in rows:
        word = next(w for w in sorted(ENDS, key=len, reverse=True) if w in row["query"])
        kind, reason = ENDS[word]
        assert (word, row["kind"]) == (word, kind)
        assert kind == "accepted" or row["reason"] == reason
    for kind in ("accepted", "rejected", "unscored", "blocked"):
        assert summary[kind] == sum(end[0] == kind for end in ENDS.values())
    asked = sum(server.tries.values())
    assert synthesize(config, tmp_path / "run") == summary
    assert sum(server.tries.values()) == asked


def test_a_spent_budget_ends_a_run_and_a_larger_one_has_it_go_on(config, tmp_path, server):
    small = replace(config, **{role: f"{config.actor}#token_budget=100" for role in ROLES})
    spent = "its budget is spent: .* tokens of token_budget=100"
    with pytest.raises(GateNotMet, match=spent):
        synthesize(small, tmp_path / "run")
    asked = calls_made(server)
    with pytest.raises(GateNotMet, match=spent):
        synthesize(small, tmp_path / "run")
    assert calls_made(server) == asked
    summary = synthesize(config, tmp_path / "run")
    assert summary["accepted"] == 2
    made = calls_made(server)
    assert all(made[call] == tries for call, tries in asked.items() if "[" not in call[0])


def test_of_three_replicas_one_dies_half_way_and_the_attempts_are_the_same(config, tmp_path):
    questions = tmp_path / "fine.jsonl"
    lines = (tmp_path / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    fine = [line.replace(word, "up") for line, word in zip(lines, ENDS, strict=True) if word]
    questions.write_text("\n".join(fine), encoding="utf-8")
    runs = []
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(serving()) for _ in range(3)]
        alone = replace(config, questions=str(questions), attempts=len(fine))
        together = f"{','.join(each.url for each in servers)}#m#tries=2#backoff=0.01"
        for name, endpoint in (("alone", config.actor), ("together", together)):
            asked = replace(alone, **{role: endpoint for role in ROLES})

            def dies(call) -> None:
                # Half of the calls of the run have been made by then.
                servers[1].dead = sum(sum(each.tries.values()) for each in servers) > len(fine)

            summary = synthesize(asked, tmp_path / name, on_ask=dies)
            assert summary["unscored"] == summary["blocked"] == 0
            rows = decided(tmp_path / name)
            runs.append([(row["id"], row["query"], row["answer"], row["kind"]) for row in rows])
        assert servers[1].dead
        assert all(servers[n].tries.total() > 3 for n in range(3))
    assert runs[0] == runs[1]
    assert len(runs[0]) == len(fine)
