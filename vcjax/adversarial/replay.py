"""An Attacker who asks again what was asked before."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vcjax.adversarial.ledger.schema import opened_to_read
from vcjax.adversarial.outcome import ATTACKER
from vcjax.roles.role import OK, Ask, Reply, Role


class Replaying:
    """A role whose first query in each attempt is the one of an earlier run; the rest is its own.

    Later queries depend on what was answered, so there is nothing to replay.
    """

    def __init__(self, role: Role, queries: Mapping[str, str]) -> None:
        """Args: `queries` are texts by the ids of attempts; see `first_queries`."""
        self._role, self._queries = role, queries

    @property
    def family(self) -> str:
        return self._role.family

    @property
    def model(self) -> str:
        return self._role.model

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks; see `Role.ask`."""
        replies: dict[int, Reply] = {}
        for index, ask in enumerate(asks):
            attempt, _, stage = ask.key.partition("/")
            if stage == ATTACKER and attempt in self._queries:
                replies[index] = Reply(self._queries[attempt], "stop", 0, 0)
                if on_reply is not None:
                    on_reply(index, replies[index])
        others = [index for index in range(len(asks)) if index not in replies]

        def told(place: int, reply: Reply) -> None:
            if on_reply is not None:
                on_reply(others[place], reply)

        if others:
            fresh = self._role.ask([asks[index] for index in others], told)
            replies |= dict(zip(others, fresh, strict=True))
        return [replies[index] for index in range(len(asks))]


def first_queries(ledger: Path) -> dict[str, str]:
    """What the Attacker wrote first, by the ids of attempts, whether it was any good or not."""
    with opened_to_read(ledger) as connection:
        rows = connection.execute(
            "SELECT attempt, text FROM calls WHERE stage = ? AND outcome = ?", (ATTACKER, OK)
        )
        return {row["attempt"]: row["text"] for row in rows}
