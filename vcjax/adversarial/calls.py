"""Calls to roles: each is in the ledger before its reply is used, and none is made twice."""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.roles.role import Ask, Reply, Role


@dataclass(frozen=True)
class Call:
    """One question to one role; attempt and stage are its place in the ledger."""

    role: str
    attempt: str
    stage: str
    ask: Ask


T = TypeVar("T")
Steps = Generator[list[Call], list[Reply], T]
"""What an attempt does: it yields the calls it can't go on without, is sent their replies, and
returns what it came to. No calls: it waits until the others have taken a step."""


class Caller:
    """Asks roles, and the ledger before them."""

    def __init__(
        self,
        roles: Mapping[str, Role],
        ledger: Ledger,
        on_call: Callable[[str, int, int], None] = lambda role, done, planned: None,
    ) -> None:
        """Args:
        on_call: told, after each call, whose it was and how many are done of how many.
        """
        self._roles, self._ledger, self._on_call = roles, ledger, on_call

    def ask(self, calls: Sequence[Call]) -> list[Reply]:
        """Answers calls in their order; calls of one place are one call.

        Roles that are the same model are asked together, different ones one after the other.
        """
        replies: dict[tuple[str, str], Reply] = {}
        open_: dict[tuple[str, str], Call] = {}
        for call in calls:
            place = (call.attempt, call.stage)
            if place in replies or place in open_:
                continue
            reply = self._ledger.reply(call.attempt, call.stage, call.ask)
            if reply is None:
                open_[place] = call
            else:
                replies[place] = reply
        for role in {id(role): role for role in self._roles.values()}.values():
            own = [call for call in open_.values() if self._roles[call.role] is role]
            for call, reply in zip(own, self._ask_one(role, own), strict=True):
                replies[call.attempt, call.stage] = reply
        return [replies[call.attempt, call.stage] for call in calls]

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
    """Runs all scripts, a step of each at a time, in their order; returns what they came to.

    A step sees what earlier scripts did in the same round and all did in rounds before, whatever
    the order in which replies came.
    """
    ends: dict[int, T] = {}
    replies: dict[int, list[Reply] | None] = dict.fromkeys(range(len(scripts)))
    while replies:
        wanted: dict[int, list[Call]] = {}
        for index, given in replies.items():
            try:
                script = scripts[index]
                wanted[index] = next(script) if given is None else script.send(given)
            except StopIteration as end:
                ends[index] = end.value
        flat = iter(ask([call for calls in wanted.values() for call in calls]))
        replies = {index: [next(flat) for _ in calls] for index, calls in wanted.items()}
    return [ends[index] for index in range(len(scripts))]
