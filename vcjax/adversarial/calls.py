"""Calls to roles: how each is sampled, and its record in the ledger before the reply is used."""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.core.seeds import derive_seed
from vcjax.roles.asking import AskQueue, Order
from vcjax.roles.occupancy import Occupancy
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


@dataclass(frozen=True)
class Opened:
    """An attempt has decided what it asks first, or asks nothing: an empty text.

    From there on it depends on no other attempt, and no other one on its replies.
    """

    text: str


Steps = Generator[list[Call] | Opened, list[Reply], T]
"""What an attempt does: it yields the calls that it needs next, is sent their replies, and returns
its result. Without calls it waits until the others of its wave have taken a step. Once it yields
`Opened` it goes on at its own pace; see `vcjax.adversarial.waves`."""


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
        on_call: Callable[[str, int], None] = lambda role, under_way: None,
        on_ask: Callable[[Call], None] = lambda call: None,
        occupancy: Occupancy | None = None,
    ) -> None:
        """Args:
        on_call: called after each call with its role, and how many calls are under way.
        on_ask: called with each call before it is made or looked up.
        occupancy: counts how busy the roles are; None is one of its own.
        """
        self.roles, self.ledger = roles, ledger
        self.on_call, self.on_ask = on_call, on_ask
        self.occupancy = Occupancy() if occupancy is None else occupancy

    def opened(self) -> "CallQueue":
        """A queue of calls, as a context manager."""
        return CallQueue(self)

    def ask(self, calls: Sequence[Call]) -> list[Reply]:
        """Replies to calls in their order; calls of one key are one call.

        Roles are asked side by side, local models one after the other.
        """
        replies: dict[int, Reply] = {}
        with self.opened() as queue:
            for index, call in enumerate(calls):
                queue.add(index, call)
            while len(replies) < len(calls):
                index, reply = queue.next()
                replies[index] = reply
            queue.finish()
        return [replies[index] for index in range(len(calls))]


class CallQueue:
    """Calls that are under way, to which more may be added; see `Caller.opened`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._asked = AskQueue(self._received)
        self._tokens: dict[tuple[str, str], list[Any]] = {}
        self._ready: deque[tuple[Any, Reply]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether the roles could answer more calls at a time than are under way."""
        return self._asked.open < self._asked.slots

    @property
    def slots(self) -> int:
        """How many calls the roles that were asked so far answer at a time."""
        return self._asked.slots

    def add(self, token: Any, call: Call, order: Order = ()) -> None:
        """Has a call made, unless the ledger has it; those that are the lowest in order first.

        Args:
          token: by which `next` names it.
        """
        if call.key in self._tokens:
            self._tokens[call.key].append(token)
            return
        self._caller.on_ask(call)
        reply = self._caller.ledger.reply(call.attempt, call.stage, call.ask)
        if reply is not None:
            self._ready.append((token, reply))
            return
        self._tokens[call.key] = [token]
        role = self._caller.roles[call.role]
        if self._asked.takes_asks:
            self._caller.occupancy.asked(call.role, role, self._asked.slots_of(role))
        self._asked.add(role, call, call.ask, order)

    def next(self) -> tuple[Any, Reply]:
        """The token of a call and its reply, which is in the ledger; waits for one.

        Raises: see `AskQueue.wait`.
        """
        while not self._ready:
            self._asked.wait()
        return self._ready.popleft()

    def finish(self) -> None:
        """See `AskQueue.finish`."""
        self._asked.finish()

    def _received(self, call: Call, reply: Reply) -> None:
        role = self._caller.roles[call.role]
        self._caller.occupancy.answered(role)
        self._caller.ledger.record_call(
            call.attempt, call.stage, call.ask, reply, model=role.model, family=role.family
        )
        self._ready += [(token, reply) for token in self._tokens.pop(call.key)]
        self._caller.on_call(call.role, self._asked.open)

    def __enter__(self) -> Self:
        self._caller.occupancy.__enter__()
        self._asked.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._asked.__exit__(*exception)
        self._caller.occupancy.__exit__(*exception)
