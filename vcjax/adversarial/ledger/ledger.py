"""The ledger: every call and every attempt, in SQLite, before a reply is used."""

import json
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from vcjax.adversarial.cells import Attempt
from vcjax.adversarial.ledger.prompts import record_prompt
from vcjax.adversarial.ledger.query import attempts, is_merged, spending, usage
from vcjax.adversarial.ledger.schema import (
    ATTEMPT,
    CALL,
    CELL,
    DETAIL,
    PATIENCE,
    SETUP,
    TOTAL_COST,
    insert_statement,
    open_to_write,
    readable_errors,
)
from vcjax.adversarial.ledger.spending import charge_recorded_calls
from vcjax.adversarial.ledger.superseded import put_aside_if_changed
from vcjax.core.errors import UserError
from vcjax.core.files import hash_text
from vcjax.roles.role import Ask, Message, Reply, Role
from vcjax.roles.verdict import Verdict

_SYNC_SECONDS = 1.0
_FIND_CALL = (
    "SELECT calls.*, revision FROM calls JOIN setups ON setups.key = setup "
    "WHERE attempt = ? AND stage = ?"
)
_FIND_SETUP = f"SELECT key FROM setups WHERE ({', '.join(SETUP)}) = ({', '.join('?' * len(SETUP))})"
_SPENT = (
    "SELECT count(*) AS call_count, coalesce(sum(prompt_tokens), 0) AS prompt_tokens, "
    f"coalesce(sum(tokens), 0) AS tokens, total(seconds) AS seconds, {TOTAL_COST} AS cost "
    "FROM calls WHERE attempt = ?"
)


class Ledger:
    """One run's calls and attempts; a context manager.

    A call is committed when it has finished and an attempt when its verdict is decided, so that
    `kill -9` at any moment loses nothing that was finished; what is recorded is never asked again.
    Commits reach the disk once a second, since each takes milliseconds there: a power cut or a
    crash of the system may lose the last calls, which are then asked again.

    One process at a time writes a ledger; others may read it, see `launch.ledger`.
    """

    def __init__(self, path: str | Path, *, charter: str = "", patience: float = PATIENCE) -> None:
        """Opens or makes the file.

        Args:
          charter: hash of the charter that the calls are made under.
          patience: seconds to wait for a database that another program has locked.

        Raises:
          UserError: another run has it, it isn't a ledger, or one of another version.
        """
        self.path, self.charter = Path(path), charter
        self._connection, self._lock = open_to_write(self.path, patience)
        self._setups: dict[tuple[str, ...], int] = {}
        self._synced = time.monotonic()

    @classmethod
    def of_run(cls, path: str | Path, *, roles: Collection[Role], charter: str) -> Self:
        """Opens the ledger of a run, which has calls of these models and under this charter alone.

        One of other models is put aside first; see `superseded`. What its calls have cost counts
        towards the budgets of endpoints among the roles.

        Args:
          charter: its content hash.

        Raises:
          UserError: as of the constructor, and of `put_aside_if_changed`.
        """
        put_aside_if_changed(Path(path), roles=roles, charter=charter)
        ledger = cls(path, charter=charter)
        charge_recorded_calls(roles, ledger.spending)
        return ledger

    def close(self) -> None:
        """Closes the file; where nobody reads it, SQLite merges its write-ahead log into it."""
        self._connection.close()
        self._lock.close()

    def reply(self, attempt: str, stage: str, ask: Ask) -> Reply | None:
        """The recorded reply to a call, or None.

        Raises:
          UserError: the call was recorded for another prompt; the ledger isn't of this run.
        """
        with readable_errors(self.path):
            row = self._connection.execute(_FIND_CALL, (attempt, stage)).fetchone()
        if row is None:
            return None
        # A killed run is continued by doing its attempts again from their first call: calls that
        # are recorded return at once, so it arrives where it stopped without any state of its own.
        # That is only right if it asks what it asked then, which the hash of the prompt shows.
        if row["prompt_hash"] != _prompt_hash(ask):
            raise UserError(f"ledger: {attempt}/{stage} was asked with another prompt")
        return Reply(
            text=row["text"],
            finish_reason=row["finish_reason"],
            prompt_tokens=row["prompt_tokens"],
            tokens=row["tokens"],
            alternatives=tuple(
                tuple((text, logprob) for text, logprob in each)
                for each in json.loads(row["alternatives"] or "[]")
            ),
            outcome=row["outcome"],
            detail=row["detail"],
            seconds=row["seconds"],
            cost=row["cost"],
            model=row["revision"],
        )

    def record_call(
        self, attempt: str, stage: str, ask: Ask, reply: Reply, *, model: str, family: str
    ) -> None:
        """Commits one finished call, failed ones included."""
        parameters = {
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "json_schema": ask.json_schema is not None,
            "top_logprobs": ask.top_logprobs,
        }
        alternatives = json.dumps(reply.alternatives, ensure_ascii=False)
        values = {
            "attempt": attempt,
            "stage": stage,
            "prompt_hash": _prompt_hash(ask),
            "seed": ask.seed,
            "text": reply.text,
            "outcome": reply.outcome,
            "detail": reply.detail,
            "finish_reason": reply.finish_reason,
            "alternatives": alternatives if reply.alternatives else None,
            "prompt_tokens": reply.prompt_tokens,
            "tokens": reply.tokens,
            "seconds": reply.seconds,
            "cost": reply.cost,
            "created": int(time.time()),
        }
        setup = (model, family, reply.model, json.dumps(parameters), self.charter)
        with readable_errors(self.path), self._together():
            values["setup"] = self._setup(setup)
            record_prompt(self._connection, values["prompt_hash"], ask.messages)
            self._connection.execute(_INSERT_CALL, values)

    def record_attempt(
        self,
        attempt: Attempt,
        *,
        source: str,
        attacker_fault: str | None,
        query: str,
        answer: str | None,
        verdict: Verdict,
        candidates: Sequence[dict[str, Any]],
        charter: str,
        conversation: Sequence[Message] = (),
        style_checked: str | None = None,
        checked_by: str | None = None,
    ) -> None:
        """Writes one decided attempt, with what its calls have cost.

        Args:
          query: the attack; of several turns the last.
          candidates: every answer, with its own verdict.
          charter: its hash.
          conversation: all turns, where there was more than one query and its answer.
          style_checked, checked_by: whether the query was found to be of its style and on its
            topic, and by whom; None where nobody checked.
        """
        with readable_errors(self.path):
            spent = dict(self._connection.execute(_SPENT, (attempt.id,)).fetchone())
            values = {
                "number": attempt.number,
                "id": attempt.id,
                "round": 0,  # of the closed loop, which has a ledger for each of its rounds
                "wave": attempt.wave,
                **{name: getattr(attempt, name) for name in CELL},
                "topic": attempt.topic,
                "source": source,
                "attacker_fault": attacker_fault,
                "style_checked": style_checked,
                "checked_by": checked_by,
                "query": query,
                "kind": verdict.kind,
                "reason": verdict.reason,
                "score": verdict.score,
                **spent,
                "charter": charter,
                "created": int(time.time()),
            }
            details = {
                "answer": answer,
                "conversation": json.dumps(list(conversation), ensure_ascii=False),
                "candidates": json.dumps(list(candidates), ensure_ascii=False),
            }
            with self._together():
                key = self._connection.execute(_INSERT_ATTEMPT, values).lastrowid
                self._connection.execute(_INSERT_DETAILS, {"key": key, **details})

    def _together(self) -> AbstractContextManager[None]:
        """A transaction of several rows, or the one that the caller has begun."""
        return nullcontext() if self._connection.in_transaction else self.transaction()

    def _sync(self) -> None:
        """Writes commits through to the disk once a second.

        With `synchronous=NORMAL` SQLite itself does that only at a checkpoint, when it copies the
        write-ahead log into the file.
        """
        if (now := time.monotonic()) - self._synced < _SYNC_SECONDS:
            return
        self._synced = now
        with self.path.with_name(self.path.name + "-wal").open("rb") as log:
            os.fsync(log.fileno())

    def _setup(self, values: tuple[str, ...]) -> int:
        """The key of a row of `setups`, which is made where there is none."""
        if values not in self._setups:
            row = self._connection.execute(_FIND_SETUP, values).fetchone()
            if row is None:
                named = dict(zip(SETUP, values, strict=True))
                self._connection.execute(insert_statement("setups", SETUP), named)
                row = self._connection.execute(_FIND_SETUP, values).fetchone()
            self._setups[values] = row["key"]
        return self._setups[values]

    def attempts(self) -> Iterator[dict[str, Any]]:
        """All decided attempts with all their fields, in the order of their numbers."""
        return attempts(self._connection)

    def decided(self) -> Iterator[dict[str, Any]]:
        """What `attempts` gives, but without the texts of answers: a million take seconds."""
        return attempts(self._connection, details=False)

    def merged(self) -> bool:
        """Whether it has attempts of several runs, each of which numbers them from 0."""
        with readable_errors(self.path):
            return is_merged(self._connection)

    def usage(self) -> list[dict[str, Any]]:
        """What was spent, by role and model: `role, model, revision, calls, failed, prompt_tokens,
        tokens, seconds, cost`, and the tokens of calls that have no cost, as `spending` has."""
        return usage(self._connection)

    def spending(self) -> list[dict[str, Any]]:
        """What was spent, by role, model and whether for an attempt: `role, model, of_attempt,
        calls, prompt_tokens, tokens, cost`, and the tokens of calls that have no cost,
        `unpriced_prompt_tokens` and `unpriced_tokens`."""
        return spending(self._connection)

    def tokens(self) -> dict[str, int]:
        """Generated tokens by role."""
        totals: dict[str, int] = {}
        for row in self.usage():
            totals[row["role"]] = totals.get(row["role"], 0) + row["tokens"]
        return totals

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits all of the block's records, or none of them, in one write to the disk."""
        with readable_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
                self._sync()
            except BaseException:
                self._setups.clear()  # the block may have made some
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_INSERT_CALL = insert_statement("calls", CALL)
_INSERT_ATTEMPT = insert_statement("attempts", ATTEMPT)
_INSERT_DETAILS = insert_statement("details", ("key", *DETAIL))


def _prompt_hash(ask: Ask) -> str:
    """Half of a SHA-256: enough to distinguish prompts, and a ledger stores millions."""
    text = json.dumps([list(ask.messages), ask.json_schema], ensure_ascii=False)
    return hash_text(text)[:32]
