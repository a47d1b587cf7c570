"""The votes of another Critic on answers, in a file that a kill leaves whole."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vcjax.adversarial.calls import CRITIC, CallBuilder
from vcjax.adversarial.critic.panel import CriticPanel, voted
from vcjax.adversarial.critic.votes import Submission
from vcjax.roles.cache import CallCache, fingerprint
from vcjax.roles.role import Reply, Role
from vcjax.roles.verdict import Verdict

VOTES = "votes.jsonl"
_KEY = ("id", "vote", "fingerprint")
_REPLY = ("text", "finish_reason", "prompt_tokens", "tokens", "alternatives", "outcome", "detail")
_CHUNK = 64


def judge_again(
    submissions: Sequence[Submission],
    panel: CriticPanel,
    roles: Mapping[str, Role],
    calls: CallBuilder,
    folder: Path,
) -> list[Verdict]:
    """The panel's verdicts on the answers; asks what `votes.jsonl` doesn't have.

    A record is `{id, vote, fingerprint, critic, model, family}` and the reply.

    Args:
      roles: of the panel, by name.
    """
    requests = [request for each in submissions for request in panel.vote_requests(each)]
    asks = [
        calls.build(
            each.critic,
            each.submission,
            f"{CRITIC}/v{each.vote}",
            each.messages,
            each.json_schema,
        ).ask
        for each in requests
    ]
    keys = [
        (each.submission, str(each.vote), fingerprint(roles[each.critic].identity, asdict(ask)))
        for each, ask in zip(requests, asks, strict=True)
    ]

    def record(index: int, reply: Reply) -> dict[str, Any]:
        role = roles[requests[index].critic]
        about = {"critic": requests[index].critic, "model": role.model, "family": role.family}
        given = {name: getattr(reply, name) for name in _REPLY}
        return {**dict(zip(_KEY, keys[index], strict=True)), **about, **given}

    with CallCache(folder / VOTES, _KEY) as cache:
        for name in dict.fromkeys(each.critic for each in requests):
            own = [index for index, each in enumerate(requests) if each.critic == name]
            cache.ask(
                roles[name],
                [asks[index] for index in own],
                [keys[index] for index in own],
                lambda position, reply, own=own: record(own[position], reply),
                chunk=_CHUNK,
                label="votes" if name == CRITIC else f"votes of {name}",
            )
        replies = iter([_reply(cache.records[key]) for key in keys])
    return [
        voted(panel, each, [next(replies) for _ in panel.vote_requests(each)])
        for each in submissions
    ]


def _reply(record: Mapping[str, Any]) -> Reply:
    known = {name: record[name] for name in _REPLY}
    alternatives = tuple(
        tuple((text, logprob) for text, logprob in each) for each in known["alternatives"]
    )
    return Reply(**{**known, "alternatives": alternatives})
