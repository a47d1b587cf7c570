"""Calls to roles: how each is sampled, and its record in the ledger before the reply is used."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.core.seeds import derive_seed
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.roles.role import CONTENT_FILTER, OK, Ask, Message, Reply, Role
from vcjax.roles.verdict import Verdict

ATTACKER, ACTOR, TARGET, CRITIC = "attacker", "actor", "target", "critic"
"""The roles: who writes queries; who answers them, the Actor under the charter's persona and the
model that is attacked without; who judges. Further Critics are `critic2` and so on."""

_ALTERNATIVES = 10
"""Likeliest tokens asked for at each number in a verdict: a score is one of six tokens, and some
are spelt in two ways."""

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One ask of one role; attempt and stage are its key in the ledger."""

    role: str
    attempt: str
    stage: str
    ask: Ask

    @property
    def key(self) -> tuple[str, str]:
        return self.attempt, self.stage


Steps = Generator[list[Call], list[Reply], T]
"""What an attempt does: it yields the calls that it needs next, is sent their replies, and returns
its result. Without calls it waits until the others have taken a step."""


class CallBuilder:
    """Makes the calls of a run, with the sampling settings of each role and a seed for each call.

    The seed comes from (run seed, attempt, stage) alone, so that a call is the same whatever else
    is asked.
    """

    def __init__(self, config: SynthesisConfig) -> None:
        self._seed, self._top_p = config.seed, config.top_p
        answer = (config.actor_tokens, config.actor_temperature)
        self._sampling = {
            ATTACKER: (config.attacker_tokens, config.attacker_temperature),
            ACTOR: answer,
            TARGET: answer,
            CRITIC: (config.critic_tokens, config.critic_temperature),
        }

    def build(
        self,
        role: str,
        attempt: str,
        stage: str,
        messages: Sequence[Message],
        schema: dict[str, Any] | None = None,
    ) -> Call:
        """Args:
        attempt: the id of the attempt that it belongs to.
        stage: `<role>/<what distinguishes it>`.
        schema: of a reply in JSON.
        """
        max_tokens, temperature = self._sampling[role.rstrip("0123456789")]
        ask = Ask(
            key=f"{attempt}/{stage}",
            messages=tuple(messages),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=self._top_p,
            seed=derive_seed(self._seed, attempt, stage),
            json_schema=schema,
            # A query in JSON may have numbers too, but they aren't scores.
            top_logprobs=_ALTERNATIVES if schema is not None and role != ATTACKER else 0,
        )
        return Call(role, attempt, stage, ask)


def failed_call(role: str, reply: Reply) -> Verdict | None:
    """The verdict where a role gave no reply, or None: filtered is blocked, all else unscored."""
    if reply.outcome == OK:
        return None
    kind = "blocked" if reply.outcome == CONTENT_FILTER else "unscored"
    return Verdict(kind, f"{role}: {reply.outcome}")


class Caller:
    """Looks calls up in the ledger, and asks roles only what isn't there."""

    def __init__(
        self,
        roles: Mapping[str, Role],
        ledger: Ledger,
        on_call: Callable[[str, int, int], None] = lambda role, done, planned: None,
        on_ask: Callable[[Call], None] = lambda call: None,
    ) -> None:
        """Args:
        on_call: called after each call with its role, and how many of the role's calls are done
          and planned in this step.
        on_ask: called with each call before it is made or looked up.
        """
        self._roles, self._ledger = roles, ledger
        self._on_call, self._on_ask = on_call, on_ask

    def ask(self, calls: Sequence[Call]) -> list[Reply]:
        """Replies to calls in their order; calls of one key are one call.

        Roles that are the same model are asked together, different ones one after the other.
        """
        replies: dict[tuple[str, str], Reply] = {}
        unanswered: dict[tuple[str, str], Call] = {}
        for call in calls:
            if call.key in replies or call.key in unanswered:
                continue
            self._on_ask(call)
            reply = self._ledger.reply(call.attempt, call.stage, call.ask)
            if reply is None:
                unanswered[call.key] = call
            else:
                replies[call.key] = reply
        # A local model decodes all of its calls as one batch, whichever roles it plays.
        for role in {id(role): role for role in self._roles.values()}.values():
            own = [call for call in unanswered.values() if self._roles[call.role] is role]
            for call, reply in zip(own, self._ask_one(role, own), strict=True):
                replies[call.key] = reply
        return [replies[call.key] for call in calls]

    def _ask_one(self, role: Role, calls: Sequence[Call]) -> list[Reply]:
        planned, done = Counter(call.role for call in calls), Counter[str]()

        def record(index: int, reply: Reply) -> None:
            call = calls[index]
            self._ledger.record_call(
                call.attempt, call.stage, call.ask, reply, model=role.model, family=role.family
            )
            done[call.role] += 1
            self._on_call(call.role, done[call.role], planned[call.role])

        return role.ask([call.ask for call in calls], record) if calls else []


def run_together(
    scripts: Sequence[Steps[T]], ask: Callable[[Sequence[Call]], list[Reply]]
) -> list[T]:
    """Runs all scripts, a step of each at a time, in their order; returns their results.

    A step may depend on what earlier scripts did in the same round and all did in rounds before,
    whatever the order in which replies came.
    """
    results: dict[int, T] = {}
    replies: dict[int, list[Reply] | None] = dict.fromkeys(range(len(scripts)))
    while replies:
        wanted: dict[int, list[Call]] = {}
        for index, given in replies.items():
            try:
                script = scripts[index]
                wanted[index] = next(script) if given is None else script.send(given)
            except StopIteration as end:
                results[index] = end.value
        # One ask for the calls of all scripts, so that they fill the engine's batch.
        flat = iter(ask([call for calls in wanted.values() for call in calls]))
        replies = {index: [next(flat) for _ in calls] for index, calls in wanted.items()}
    return [results[index] for index in range(len(scripts))]


def charge_recorded_calls(roles: Iterable[Role], ledger: Ledger) -> None:
    """Counts what the ledger's calls have cost towards the budgets of the roles' endpoints: a run
    that is started again has spent that already."""
    # By identity: several roles may be one endpoint, whose account must be charged once.
    endpoints = {id(role): role for role in roles if isinstance(role, EndpointRole)}.values()
    if not endpoints:
        return
    spent = ledger.spending()
    for role in endpoints:
        for row in spent:
            if row["model"] == role.model:
                tokens = row["prompt_tokens"] + row["tokens"]
                role.account.charge(tokens, spent_cost(role.spec, row) or 0.0)


def spent_cost(spec: EndpointSpec, row: Mapping[str, Any]) -> float | None:
    """What a row of `Ledger.spending` or `Ledger.usage` has cost; None where that isn't known.

    Calls that were made before their price was known have the price of now.
    """
    later = spec.cost(row["unpriced_prompt_tokens"], row["unpriced_tokens"])
    return None if later is None else row["cost"] + later
