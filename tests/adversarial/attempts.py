"""Ledgers filled without a model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.roles.role import Ask, Reply
from vcjax.roles.verdict import Verdict

STAGES = ("attacker", "actor/0", "critic/0")
ASK = Ask("x/actor", ({"role": "user", "content": "为什么?"},), 9, 0.5, seed=3)
REPLY = Reply("因为。", "stop", 4, 2, model="weights")


def attempt(number: int, **changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "number": number,
        "wave": number // 4,
        "subdomain": "parks",
        "attack": ("dilemma", "persona")[number % 2],
        "lang": ("en", "zh")[number // 2 % 2],
        "severity": 2,
        "turns": 1,
        "index": number,
        "topic": "old parks",
    }
    return Attempt(**{**values, **changes})


def decide(ledger: Ledger, planned: Attempt, **changes: Any) -> None:
    """Records an attempt that accepts an answer of score 5, but for what is changed."""
    values: dict[str, Any] = {
        "source": "attacker",
        "attacker_fault": None,
        "query": f"Why {planned.number}?",
        "answer": "因为。",
        "verdict": Verdict("accepted", "", 5),
        "candidates": [{"by": "actor", "answer": "因为。", "kind": "accepted"}],
        "charter": "hash",
    }
    ledger.record_attempt(planned, **{**values, **changes})


def call(ledger: Ledger, id: str, stage: str, reply: Reply = REPLY, ask: Ask = ASK) -> None:
    ledger.record_call(id, stage, ask, reply, model="m", family="f")


def fill(path: Path, numbers: Iterable[int], **changes: Any) -> None:
    """Makes a ledger of attempts with their calls; `changes` are of all of them."""
    with Ledger(path, charter="hash") as ledger:
        for number in numbers:
            planned = attempt(number)
            for stage in STAGES:
                call(ledger, planned.id, stage)
            decide(ledger, planned, **changes)
