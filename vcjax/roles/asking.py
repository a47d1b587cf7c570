"""Asks of several roles that are answered side by side, to which more are added as replies come.

    AskQueue.add(role, token, ask) --> the role's Asking: an endpoint's, in a thread; the local
                                       engine's, a step at a time; or one batch after another
    AskQueue.wait() --> on_reply(token, reply), in the caller's thread

A role that can take an ask while others are under way is a `StreamingRole`.
"""

import queue
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from vcjax.roles.background import Background, Feed
from vcjax.roles.role import Ask, Reply, Role

Order = tuple[int, ...]
"""Which of the waiting asks of a role is next: the lowest."""


@dataclass(frozen=True)
class End:
    """The end of an `Asking` that was stopped, or that an error has ended."""

    error: BaseException | None = None


Emit = Callable[[tuple[int, Reply] | End], None]
"""Is given each reply with the index of its ask, and at last the end; from any thread."""


class Asking(Protocol):
    """The asks that are under way at one role.

    Attributes:
      slots: how many it answers at a time.
    """

    slots: int

    def add(self, index: int, ask: Ask, order: Order) -> None:
        """Has an ask answered, after those of a lower order that wait."""
        ...

    def work(self) -> bool:
        """Does a piece of the work in the caller's thread.

        Returns whether there was any: False too where all of it is done elsewhere.
        """
        ...

    def stop(self) -> None:
        """Takes no more asks; those that an endpoint is answering end first."""
        ...

    def cancel(self) -> None:
        """Ends whatever is under way, and returns when it has ended."""
        ...


@runtime_checkable
class StreamingRole(Role, Protocol):
    """A role that takes asks while others are under way."""

    def asking(self, emit: Emit) -> Asking: ...


class AskQueue:
    """The asks of a caller to any roles; a context manager, which ends what is still under way."""

    def __init__(self, on_reply: Callable[[Any, Reply], None]) -> None:
        """Args:
        on_reply: is given the token of each ask and its reply, in the thread that waits, as soon
          as it is there.
        """
        self._on_reply = on_reply
        # Filled from the threads of endpoints, emptied in the caller's alone: so no callback needs
        # a lock.
        self._emitted: queue.SimpleQueue[tuple[int, Reply] | End] = queue.SimpleQueue()
        self._askings: dict[int, Asking] = {}  # by the identity of the role
        self._tokens: dict[int, Any] = {}
        self._working: Asking | None = None
        self._is_working, self._thread = False, threading.get_ident()
        self._added = self._ended = self._received = 0
        self._error: BaseException | None = None

    @property
    def open(self) -> int:
        """How many asks have no reply yet."""
        return len(self._tokens)

    @property
    def slots(self) -> int:
        """How many asks the roles answer at a time, those together that were asked so far."""
        return sum(asking.slots for asking in self._askings.values())

    @property
    def takes_asks(self) -> bool:
        """Whether no error has ended it; then the replies that are still to come are the last."""
        return self._error is None

    def slots_of(self, role: Role) -> int:
        """How many asks a role answers at a time; it is one that takes asks."""
        return self._asking(role).slots

    def _asking(self, role: Role) -> Asking:
        if id(role) not in self._askings:
            self._askings[id(role)] = open_asking(role, self._emit)
        return self._askings[id(role)]

    def add(self, role: Role, token: Any, ask: Ask, order: Order = ()) -> None:
        """Has a role answer an ask, of those that wait for it the lowest in order first."""
        if not self.takes_asks:
            return
        asking = self._asking(role)
        # Before the ask is passed on: a reply that is known comes at once, and may lead to others.
        index, self._added = self._added, self._added + 1
        self._tokens[index] = token
        # Of equal ones the first.
        asking.add(index, ask, (*order, index))

    def wait(self) -> None:
        """Returns once another reply has come.

        Raises:
          Exception: what has ended a role. Before it, the asks that other roles were answering then
            have had their replies.
        """
        before = self._received
        while self._received == before:
            self.step()

    def step(self) -> None:
        """Takes what a role has sent, or does a piece of the work of local ones; where there is
        neither, waits until a role sends something. Raises: see `wait`."""
        # Not before the others have ended: what they were answering by then is paid for, and is to
        # be recorded.
        if self._error is not None and self._ended == len(self._askings):
            raise self._error
        try:
            self._take(self._emitted.get_nowait())
            return
        except queue.Empty:
            pass
        try:
            self._is_working = True
            worked = self._error is None and self._work()
        except Exception as error:
            self._stop(error)
            return
        finally:
            self._is_working = False
        if not worked:
            self._take(self._emitted.get())

    def finish(self) -> None:
        """Ends the roles' asking once all has its reply. Raises: what has ended a role."""
        for asking in self._askings.values():
            asking.stop()
        while self._ended < len(self._askings):
            self._take(self._emitted.get())
        if self._error is not None:
            raise self._error

    def _emit(self, emitted: tuple[int, Reply] | End) -> None:
        # Straight from work in this thread, since a batch may take long: each of its replies is to
        # be recorded as it comes. But a reply that comes while an ask is added has to wait.
        if self._is_working and threading.get_ident() == self._thread:
            self._take(emitted)
        else:
            self._emitted.put(emitted)

    def _work(self) -> bool:
        """Works on the asks of one role until none is left, and then of the next one: of two local
        models the memory may have room for one."""
        if self._working is not None and self._working.work():
            return True
        for asking in list(self._askings.values()):  # a reply may lead to the first ask of a role
            if asking.work():
                self._working = asking
                return True
        return False

    def _take(self, emitted: tuple[int, Reply] | End) -> None:
        if not isinstance(emitted, End):
            index, reply = emitted
            self._received += 1
            self._on_reply(self._tokens.pop(index), reply)
            return
        self._ended += 1
        if emitted.error is not None:
            self._stop(emitted.error)

    def _stop(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            for asking in self._askings.values():
                asking.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for asking in self._askings.values():
            asking.cancel()
        # Each has this queue's method, and this queue the caller's: without these circles the
        # models of the roles are freed with the roles, before another stage loads its own.
        self._askings.clear()
        self._working, self._on_reply = None, _nobody


def _nobody(token: Any, reply: Reply) -> None:
    """Gets the replies that come after the end: there are none."""


class _Batches:
    """The asks of a role that isn't a `StreamingRole`: all that wait are asked together."""

    slots = 16

    def __init__(self, role: Role, emit: Emit) -> None:
        self._role, self._emit = role, emit
        self._waiting: list[tuple[Order, int, Ask]] = []
        self._stopped = False

    def add(self, index: int, ask: Ask, order: Order) -> None:
        self._waiting.append((order, index, ask))

    def work(self) -> bool:
        if not self._waiting:
            return False
        batch = sorted(self._waiting, key=lambda each: each[0])
        self._waiting.clear()
        self._role.ask(
            [ask for _, _, ask in batch],
            lambda position, reply: self._emit((batch[position][1], reply)),
        )
        return True

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._emit(End())

    def cancel(self) -> None:
        self._waiting.clear()


class FedAsking:
    """The asks under way at a role that answers in the event loop of a thread; see `Asking`."""

    def __init__(
        self,
        slots: int,
        answer_all: Callable[[Feed[tuple[int, Ask]]], Coroutine[Any, Any, None]],
        emit: Emit,
    ) -> None:
        """Args:
        answer_all: answers the asks of a feed, each with its index, until the feed is closed.
        """
        self.slots = slots
        feed: Feed[tuple[int, Ask]] = Feed()
        self._feed = feed
        self._background = Background(lambda: answer_all(feed), lambda error: emit(End(error)))

    def add(self, index: int, ask: Ask, order: Order) -> None:
        self._background.call(self._feed.put, order, (index, ask))

    def work(self) -> bool:
        return False

    def stop(self) -> None:
        self._background.call(self._feed.close)

    def cancel(self) -> None:
        self._background.cancel()


def open_asking(role: Role, emit: Emit) -> Asking:
    """The asking of any role; batches of one that isn't a `StreamingRole`."""
    return role.asking(emit) if isinstance(role, StreamingRole) else _Batches(role, emit)


def ask_all(
    role: Role, asks: Sequence[Ask], on_reply: Callable[[int, Reply], None] | None = None
) -> list[Reply]:
    """Answers all asks of a streaming role; see `Role.ask`."""
    replies: dict[int, Reply] = {}

    def received(index: int, reply: Reply) -> None:
        replies[index] = reply
        if on_reply is not None:
            on_reply(index, reply)

    with AskQueue(received) as asked:
        for index, ask in enumerate(asks):
            asked.add(role, index, ask)
        while asked.open:
            asked.wait()
        asked.finish()
    return [replies[index] for index in range(len(asks))]
