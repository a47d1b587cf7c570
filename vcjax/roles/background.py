"""An event loop in a thread of its own, so that callers needn't have one, or may have another."""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
_END = object()


class Background(Generic[T]):
    """Runs a coroutine; iterating gives what it tells, as it is told, in the caller's thread.

    Iteration ends as the coroutine does, and raises what it raised. Leaving the `with` block before
    cancels it.
    """

    def __init__(self, work: Callable[[Callable[[T], None]], Coroutine[Any, Any, None]]) -> None:
        """Args: `work` is given the function to tell by."""
        self._work = work
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __iter__(self) -> Iterator[T]:
        while (told := self._told.get()) is not _END:
            yield told
        if self._error is not None:
            raise self._error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            with suppress(RuntimeError):  # it has just ended, and its loop with it
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._watched())
        except BaseException as error:
            self._error = error
        finally:
            self._told.put(_END)

    async def _watched(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._task = asyncio.get_running_loop(), task
        self._started.set()
        await self._work(self._told.put)
