"""The cache of calls: what was asked once is never asked again.

`CallCache` is the file of an evaluation's records, which outlives a killed run. `CachedRole`
returns the replies of an earlier run. (A synthesis run has its ledger instead, which can be queried
as well.)
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from vcjax.core.errors import UserError
from vcjax.core.files import hash_text
from vcjax.core.progress import Progress
from vcjax.roles.asking import (
    Asking,
    AskQueue,
    Emit,
    Order,
    StreamingRole,
    ask_all,
    open_asking,
)
from vcjax.roles.endpoint import EndpointRole
from vcjax.roles.role import Ask, Reply, Role, writable

Key = tuple[str, ...]
Record = dict[str, Any]
SPENT = "spent"
"""The field of a record with what its call has cost: `{model, prompt_tokens, tokens, cost}`, with a
cost of null where it isn't known. The field is null, or isn't there, where no endpoint was asked.
"""


def fingerprint(*parts: object) -> str:
    """Sixteen hex digits that identify JSON-like `parts`: everything that a record depends on.

    A record is reused only where all of it is the same, so a changed prompt, model, seed or charter
    is asked again.
    """
    # 64 bits: among a billion records two share them with a probability of 3 %, and only within one
    # item would that matter.
    return hash_text(json.dumps(parts, sort_keys=True, ensure_ascii=False))[:16]


@dataclass(frozen=True)
class Wanted:
    """Records that are wanted of one role.

    Attributes:
      keys: of the records of `asks`; the first part of each is the item's id.
      to_record: makes a record of a reply to `asks[index]`.
      replaced: whether a record of the same item is one that these asks' records replace, as its
        model or prompt has changed; others may be of another role.
    """

    role: Role
    asks: Sequence[Ask]
    keys: Sequence[Key]
    to_record: Callable[[int, Reply], Record]
    replaced: Callable[[Record], bool] = lambda record: True


class CallCache:
    """JSONL records, each identified by the values of its `key` fields; a context manager.

    A record is on the disk when `append` returns. A line that a kill left without its end is
    dropped when the file is opened again: its `append` never returned.

    One process at a time may have a cache open.

    Attributes:
      records: by their keys, in the order of the file.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        key: tuple[str, ...],
        on_growth: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens or makes the file.

        Args:
          key: fields whose values no two records may share.
          on_growth: called when records have been written.

        Raises:
          UserError: a line that isn't such a record.
        """
        self.path, self._fields, self._on_growth = Path(path), key, on_growth
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Appended to whatever happens: a writer at another place of the file could spoil records.
        self._stream = self.path.open("a+b")
        self._stream.seek(0)
        content = self._stream.read()
        # Cut here, as appending to an unfinished line would spoil the next record.
        whole = content[: content.rfind(b"\n") + 1]
        self._stream.truncate(len(whole))
        self.records: dict[Key, Record] = {}
        try:
            # Bytes, which end lines at line feeds: of a text Python would also split at U+2028,
            # which JSON may contain.
            for number, line in enumerate(whole.splitlines(), start=1):
                self._load(number, line)
        except UserError:
            self._stream.close()
            raise

    def ask(
        self,
        role: Role,
        asks: Sequence[Ask],
        keys: Sequence[Key],
        to_record: Callable[[int, Reply], Record],
        *,
        chunk: int,
        label: str,
        replaced: Callable[[Record], bool] = lambda record: True,
    ) -> None:
        """Asks one role whatever has no record yet; see `Wanted` and `ask_together`."""
        wanted = Wanted(role, asks, keys, to_record, replaced)
        self.ask_together([wanted], chunk=chunk, label=label)

    def ask_together(self, wanted: Sequence[Wanted], *, chunk: int, label: str) -> None:
        """Asks whatever has no record yet, all roles side by side, and writes each record as its
        reply comes.

        A record of an endpoint's reply has in SPENT what it has cost: of those that were there
        already it counts towards the endpoint's budget. Its progress is on stderr.

        Args:
          chunk: number of asks that are given to a role at once, where it isn't one that takes more
            while others are under way: of these no slot waits for the last of a chunk.
          label: names the records in the progress bar.
        """
        known, missing, changed = set(self.records), list[tuple[Wanted, list[int]]](), 0
        for each in wanted:
            self._charge(each.role)
            own = [index for index, key in enumerate(each.keys) if key not in known]
            known |= {each.keys[index] for index in own}  # another role may be the same model
            missing.append((each, own))
            others = {key[0] for key, record in self.records.items() if each.replaced(record)}
            changed += sum(each.keys[index][0] in others for index in own)
        if changed:
            print(
                f"{self.path}: {changed} {label} are of another model, charter or prompt than this "
                "run's now: they are asked anew",
                file=sys.stderr,
            )
        total = sum(len(each.asks) for each in wanted)
        left = sum(len(own) for _, own in missing)
        with Progress(total=total, initial=total - left, desc=label) as bar:

            def receive(asked: tuple[Wanted, int], reply: Reply) -> None:
                each, index = asked
                # Half of a surrogate pair, which JSON's "\ud800" makes, can't be written.
                record = each.to_record(index, replace(reply, text=writable(reply.text)))
                self.append(record | _spent(each.role, reply))
                bar.update()

            _ask_side_by_side(missing, receive, chunk)

    def _charge(self, role: Role) -> None:
        if isinstance(role, EndpointRole):
            spent = (record.get(SPENT) for record in self.records.values())
            own = (each for each in spent if each and each["model"] == role.model)
            role.account.charge_once(self.path.absolute(), own)

    def adopt(self, keys: Sequence[Key], earlier: Sequence[Key]) -> None:
        """Finds records by `keys` that an earlier version has written under other ones.

        Args:
          earlier: the other keys, in the order of `keys`.
        """
        for key, other in zip(keys, earlier, strict=True):
            if key not in self.records and other in self.records:
                self.records[key] = self.records.pop(other)

    def append(self, record: Record) -> None:
        """Writes one record through to the disk. Raises: ValueError where it is there already."""
        self.extend([record])

    def extend(self, records: Iterable[Record]) -> None:
        """Writes records through to the disk at once, which costs no more than one of them.

        Raises:
          ValueError: one of them is there already; then none is written.
        """
        added: dict[Key, Record] = {}
        for record in records:
            key = self._key_of(record)
            if key in self.records or key in added:
                raise ValueError(f"{self.path}: {key} is already there")
            added[key] = record
        lines = (json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in added.values())
        self._stream.write(b"".join(lines))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.records |= added  # last: what isn't on the disk is asked again
        self._on_growth()

    def close(self) -> None:
        """Closes the file; `records` stay."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _load(self, number: int, line: bytes) -> None:
        try:
            record = json.loads(line)
        except ValueError as error:  # of the JSON or of its UTF-8
            raise UserError(f"{self.path}:{number}: not JSON ({error}); remove the line") from None
        if not isinstance(record, dict) or not set(self._fields) <= record.keys():
            names = ", ".join(self._fields)
            raise UserError(f"{self.path}:{number}: not a record with {names}; remove the line")
        if self._key_of(record) in self.records:
            raise UserError(f"{self.path}:{number}: a duplicate of another record; remove the line")
        self.records[self._key_of(record)] = record

    def _key_of(self, record: Record) -> Key:
        return tuple(record[field] for field in self._fields)


def _spent(role: Role, reply: Reply) -> Record:
    """What the record of a reply has beside its own fields."""
    if not isinstance(role, EndpointRole):
        return {}
    names = ("prompt_tokens", "tokens", "cost")
    return {SPENT: {"model": role.model, **{name: getattr(reply, name) for name in names}}}


def _ask_side_by_side(
    missing: Sequence[tuple[Wanted, list[int]]],
    on_reply: Callable[[tuple[Wanted, int], Reply], None],
    chunk: int,
) -> None:
    """Asks all roles those asks that are at the indices given with them."""
    with AskQueue(on_reply) as queue:
        for wanted, indices in missing:
            if isinstance(wanted.role, StreamingRole):
                for index in indices:
                    queue.add(wanted.role, (wanted, index), wanted.asks[index])
        while queue.open:
            queue.wait()
        queue.finish()
    for wanted, indices in missing:
        if not isinstance(wanted.role, StreamingRole):
            # Chunks of all asks, cached or not: a resumed run batches as the killed one did.
            for _, some in groupby(indices, key=lambda index: index // chunk):
                _ask_chunk(wanted, list(some), on_reply)


def _ask_chunk(
    wanted: Wanted,
    indices: Sequence[int],
    on_reply: Callable[[tuple[Wanted, int], Reply], None],
) -> None:
    chosen = [wanted.asks[index] for index in indices]
    wanted.role.ask(chosen, lambda nth, reply: on_reply((wanted, indices[nth]), reply))


class CachedRole:
    """A role whose known replies are returned again; it is asked only for the others."""

    def __init__(self, role: Role, replies: Mapping[str, Reply]) -> None:
        """Args: `replies` are known ones, by the keys of their asks."""
        self._role, self._replies = role, replies

    @property
    def family(self) -> str:
        return self._role.family

    @property
    def model(self) -> str:
        return self._role.model

    @property
    def identity(self) -> str:
        return self._role.identity

    def ask(
        self, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
    ) -> list[Reply]:
        """Answers all asks; see `Role.ask`. The known replies come first."""
        return ask_all(self, asks, on_reply)

    def asking(self, emit: Emit) -> Asking:
        """Takes asks at any time; see `StreamingRole`."""
        return _CachedAsking(open_asking(self._role, emit), self._replies, emit)


class _CachedAsking:
    """The asks of a role, without those whose replies are known; see `Asking`."""

    def __init__(self, asking: Asking, replies: Mapping[str, Reply], emit: Emit) -> None:
        self.slots = asking.slots
        self._asking, self._replies, self._emit = asking, replies, emit

    def add(self, index: int, ask: Ask, order: Order) -> None:
        if ask.key in self._replies:
            self._emit((index, self._replies[ask.key]))
        else:
            self._asking.add(index, ask, order)

    def work(self) -> bool:
        return self._asking.work()

    def stop(self) -> None:
        self._asking.stop()

    def cancel(self) -> None:
        self._asking.cancel()
