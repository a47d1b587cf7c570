"""A coroutine in the event loop of a thread of its own, and what waits for its workers.

So a caller needs no event loop, and may have one of its own, as a notebook does.
"""

import asyncio
import heapq
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Background:
    """Runs a coroutine in the event loop of a thread."""

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        """Starts the thread.

        Args:
          work: makes the coroutine.
          on_end: is called in the thread when the coroutine has ended, with what it raised.
        """
        self._work, self._on_end = work, on_end
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait()  # else there may be no loop yet that could be called

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Calls a function in the thread; does nothing once the coroutine has ended."""
        with suppress(RuntimeError):  # the loop may have been closed a moment ago
            self._loop.call_soon_threadsafe(function, *args)

    def cancel(self) -> None:
        """Cancels the coroutine, unless it has ended, and waits for its end."""
        self.call(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._main())
        # A cancellation too: whoever waits for the end must learn of it.
        except BaseException as raised:
            error = raised
        self._on_end(error)

    async def _main(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._task = asyncio.get_running_loop(), task
        self._started.set()
        await self._work()


class Feed(Generic[T]):
    """What waits for the workers of one event loop, in order; it is used within the loop alone."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, T]] = []
        self._free: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def put(self, order: Any, item: T) -> None:
        """Args: `order` is compared with those of the others; no two are the same."""
        heapq.heappush(self._waiting, (order, item))
        # Whoever is woken looks again: in the meantime another worker may have taken the item.
        self._wake(1)

    def close(self) -> None:
        """Gives nothing more out, whatever waits."""
        self._closed = True
        self._wake(len(self._free))

    async def next(self) -> T | None:
        """The next item; waits for one. None once it is closed."""
        while not (self._waiting or self._closed):
            free = asyncio.get_running_loop().create_future()
            self._free.append(free)
            await free
        return None if self._closed else heapq.heappop(self._waiting)[1]

    def _wake(self, count: int) -> None:
        for _ in range(min(count, len(self._free))):
            self._free.popleft().set_result(None)


async def work_off(
    feed: Feed[T], workers: int, work: Callable[[T], Coroutine[Any, Any, None]]
) -> None:
    """Works on what a feed gives out until it is closed, on as many items at a time as there are
    workers. The first that fails closes it; what others are working on ends. Raises: its error."""
    errors: list[Exception] = []

    async def worker() -> None:
        try:
            while (item := await feed.next()) is not None:
                await work(item)
        except Exception as error:
            errors.append(error)
            # The others take nothing more, but end what they have begun: their replies are paid
            # for.
            feed.close()

    await asyncio.gather(*(worker() for _ in range(workers)))
    if errors:
        raise errors[0]
