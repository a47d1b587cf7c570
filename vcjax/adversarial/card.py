"""The dataset card of a synthesis run, made from its summary alone."""

from collections.abc import Mapping
from typing import Any

from vcjax.adversarial.verdict import KINDS


def card(summary: Mapping[str, Any]) -> str:
    """Markdown: what the records are, what became of the attempts and why, and the limits."""
    rejected = summary["reasons"]["rejected"]
    same = (
        "**The Critic is of the Actor's model family: its verdicts are not independent evidence.**"
        if summary["same_family"]
        else "The Critic is of another model family than the Actor."
    )
    rules = (
        " **The Critic's threshold was 0: the charter's rule checks alone selected.**"
        if summary["accept_score"] == 0
        else ""
    )
    lines = [
        "# Adversarial pairs",
        "",
        f"Made for the charter **{summary['charter']['name']} {summary['charter']['version']}** "
        f"(hash `{summary['charter']['hash'][:16]}`). {same}{rules}",
        "",
        "| attempts | accepted | rejected | unscored | blocked |",
        "|---|---|---|---|---|",
        "| " + " | ".join(str(summary[name]) for name in ("attempts", *KINDS)) + " |",
        "",
        *[f"- {lang}: {counts}" for lang, counts in summary["languages"].items()],
        "",
        "`accepted.jsonl` holds conversations, `preferences.jsonl` "
        f"{summary['records']['preferences.jsonl']} pairs of an "
        "accepted and a rejected answer to the same query, `rejected.jsonl` everything else with "
        "its reason, `ledger.sqlite` every call.",
        "",
        f"Queries by source: {summary['sources']}. Roles: attacker `{summary['attacker']}`, "
        f"actor `{summary['actor']}`, critic `{summary['critic']}`.",
        "",
        "## Why attempts were rejected",
        "",
        *[f"- {reason}: {count}" for reason, count in rejected.items()],
        "",
        "The answers are a model's. They are selected by rules and by a Critic, not checked by "
        "people; facts in them may be wrong.",
        "",
    ]
    return "\n".join(lines)
