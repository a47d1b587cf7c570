"""What becomes of an answer before any Critic sees it, and which of several stands."""

from vcjax.adversarial.verdict import Verdict
from vcjax.charter.checks import run_checks, selecting_failures
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter
from vcjax.roles.role import CONTENT_FILTER, OK, Reply


def failure(role: str, reply: Reply) -> Verdict | None:
    """The verdict where a role gave no reply, or None: filtered is blocked, all else unscored."""
    if reply.outcome == OK:
        return None
    kind = "blocked" if reply.outcome == CONTENT_FILTER else "unscored"
    return Verdict(kind, f"{role}: {reply.outcome}")


def before_critic(
    charter: Charter, by: str, *, query: str, reply: Reply, lang: Language, subdomain: str
) -> Verdict | None:
    """The verdict on an answer of the role `by` that needs no Critic, or None where it decides.

    A rule that fails rejects; an answer that is empty or was cut by length is no example to learn
    from, whatever the charter's rules are.
    """
    if failed := failure(by, reply):
        return failed
    if reply.finish_reason == "length":
        return Verdict("rejected", f"{by}: cut by length")
    if not reply.text.strip():
        return Verdict("rejected", f"{by}: empty")
    results = run_checks(charter, question=query, answer=reply.text, lang=lang, subdomain=subdomain)
    failures = selecting_failures(charter, results)
    return Verdict("rejected", f"rule: {failures[0]}") if failures else None


def best(verdicts: list[Verdict]) -> int:
    """Index of the candidate that stands for the attempt.

    The accepted one of the highest score, else an unscored one (it might have been accepted),
    else the rejected one that came furthest; the earlier one of equals.
    """
    order = {"accepted": 3, "unscored": 2, "rejected": 1, "blocked": 0}
    ranks = [(order[v.kind], -1 if v.score is None else v.score) for v in verdicts]
    return ranks.index(max(ranks))
