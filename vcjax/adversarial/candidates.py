"""What becomes of a candidate answer: rule checks first, then the Critic's verdict."""

from vcjax.adversarial.verdict import Verdict
from vcjax.charter.checks import run_checks, selecting_failures
from vcjax.charter.registry import Language
from vcjax.charter.schema import Charter
from vcjax.roles.role import Reply
from vcjax.roles.verdict import parse_verdict


def before_critic(
    charter: Charter, *, query: str, reply: Reply, lang: Language, subdomain: str
) -> Verdict | None:
    """The verdict on an answer that needs no Critic, or None where the Critic decides.

    A rule that fails rejects; an answer that is empty or was cut by length is no example to learn
    from, whatever the charter's rules are.
    """
    if reply.finish_reason == "length":
        return Verdict("rejected", "actor: cut by length")
    if not reply.text.strip():
        return Verdict("rejected", "actor: empty")
    results = run_checks(charter, question=query, answer=reply.text, lang=lang, subdomain=subdomain)
    failures = selecting_failures(charter, results)
    return Verdict("rejected", f"rule: {failures[0]}") if failures else None


def after_critic(reply: Reply, accept_score: int) -> Verdict:
    """The Critic's verdict against the threshold; what can't be read is unscored."""
    score = parse_verdict(reply)
    if score.score is None:
        return Verdict("unscored", f"critic: {score.unscored_reason}")
    if score.score >= accept_score:
        return Verdict("accepted", score.reason or "", score.score)
    return Verdict("rejected", f"critic: score {score.score}", score.score)


def best(verdicts: list[Verdict]) -> int:
    """Index of the candidate that stands for the attempt.

    The accepted one of the highest score, else an unscored one (it might have been accepted),
    else the rejected one that came furthest; the earlier one of equals.
    """
    order = {"accepted": 3, "unscored": 2, "rejected": 1, "blocked": 0}
    ranks = [(order[v.kind], -1 if v.score is None else v.score) for v in verdicts]
    return ranks.index(max(ranks))
