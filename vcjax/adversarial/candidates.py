"""What becomes of an answer before any Critic sees it, and which of several stands."""

from vcjax.adversarial.critic.rules import answer_fault
from vcjax.adversarial.outcome import ACTOR
from vcjax.charter.checks import run_checks, selecting_failures
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter
from vcjax.roles.role import CONTENT_FILTER, OK, Reply
from vcjax.roles.verdict import Verdict


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

    A rule of the charter that fails rejects. What the Actor wrote must be free of the faults that
    no charter wants to learn from, too; of the model that is attacked no more is asked than the
    charter does.
    """
    if failed := failure(by, reply):
        return failed
    if by == ACTOR and (fault := answer_fault(reply.text, query, lang, reply.finish_reason)):
        return Verdict("rejected", f"{by}: {fault}")
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
