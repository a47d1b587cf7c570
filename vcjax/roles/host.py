"""Models that a process hosts for others: its thread answers the asks that come from any thread."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent
from vcjax.generate.engine_config import EngineConfig
from vcjax.generate.model_pool import ModelPool
from vcjax.roles.asking import AskQueue
from vcjax.roles.local import LocalRole
from vcjax.roles.role import Ask, Reply

T = TypeVar("T")


@dataclass(frozen=True)
class Hosted:
    """A model that is loaded.

    Attributes:
      slots: asks that it answers at a time.
      context: tokens of the longest ask with its reply that there is room for.
    """

    origin: Parent
    slots: int
    context: int


class ModelHost:
    """The models of this process's devices, as `LocalRole`s; loading and asking is queued."""

    def __init__(self, config: EngineConfig, models: int, share: int = 1) -> None:
        """Args:
        models: how many are to be loaded together.
        share: processes that the memory of the devices is for.
        """
        self._pool = ModelPool(config, models=models, memory=config.memory // share)
        self._roles: dict[str, LocalRole] = {}
        self._rooms: dict[str, int] = {}
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._asked = AskQueue(Future.set_result)
        self._open: set[Future[Reply]] = set()
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="models", daemon=True).start()

    def load(self, reference: str) -> Future[Hosted]:
        """Loads a model. Raises, in the future: a UserError where it can't be."""

        def loaded(future: Future[Hosted]) -> None:
            try:
                role = self._role(reference)
                future.set_result(Hosted(role.origin, role.slots, self._rooms[reference]))
            except Exception as error:
                future.set_exception(error)

        return self._queued(loaded)

    def ask(self, reference: str, ask: Ask, context: int) -> Future[Reply]:
        """Has a model answer an ask; it is loaded first where it isn't.

        Args:
          context: tokens of the longest ask with its reply; longer ones fail.

        Raises, in the future: what has ended the engine, or a UserError where the model can't be
          loaded or there is less room.
        """

        def asked(future: Future[Reply]) -> None:
            try:
                if self._error is not None:
                    raise self._error
                role = self._role(reference)
                if context > (room := self._rooms[reference]):
                    raise UserError(
                        f"{reference}: room for {room} tokens here and for {context} elsewhere; "
                        "set config.context"
                    )
            except Exception as error:
                future.set_exception(error)
                return
            # The least of all engines, so that what is too long doesn't depend on which one is
            # asked.
            role.context = context
            self._open.add(future)
            future.add_done_callback(self._open.discard)
            self._asked.add(role, future, ask)

        return self._queued(asked)

    def _queued(self, call: Callable[[Future[T]], None]) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # nobody cancels it from here on
        self._calls.put(lambda: call(future))
        return future

    def _role(self, reference: str) -> LocalRole:
        if reference not in self._roles:
            # Of no declared family: the caller's role has it.
            role = self._roles[reference] = LocalRole(self._pool, reference, family="")
            self._rooms[reference] = role.context
        return self._roles[reference]

    def _run(self) -> None:
        while True:
            try:  # it waits for calls only while there is nothing to answer
                call = self._calls.get(block=not self._asked.open)
            except Empty:
                self._step()
            else:
                call()

    def _step(self) -> None:
        try:
            self._asked.step()
        except Exception as error:  # as in a run on one machine, it is the end of all
            self._error = error
            # A copy: each future leaves the set as it gets its result.
            for future in list(self._open):
                future.set_exception(error)
            self._asked = AskQueue(Future.set_result)
