"""The replicas of one model: who is asked next, and who is left alone for now.

The least loaded replica is asked. One that fails is set aside for a while, longer each time, and
then tried with one request; until it answers that, the others have the rest.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

LONGEST_WAIT = 60.0
"""Seconds that a replica which failed is set aside at most, unless it asks for more."""


@dataclass(eq=False)
class Replica:
    """One of them, by its name: a URL, or a place in a cluster.

    Attributes:
      concurrency: how many requests may be under way.
      open: requests under way.
      asked: requests so far.
      failures: in a row, up to now; requests that fail together are one.
      until: when it is tried again, by `time.monotonic`.
      answered_at: when it last answered, or was first there to be asked.
      is_gone: nothing listened there at the last request.
    """

    name: str
    concurrency: int
    open: int = 0
    asked: int = 0
    failures: int = 0
    until: float = 0.0
    answered_at: float = field(default_factory=time.monotonic)
    is_gone: bool = False

    def anew(self, concurrency: int) -> "Replica":
        """The same one for another call, which knows of its failures."""
        return replace(self, concurrency=concurrency, open=0, asked=0, answered_at=time.monotonic())

    @property
    def is_available(self) -> bool:
        """Whether it may be asked: it answers, or it is time to try it with one request."""
        # A single request tries it: many would all wait for the timeout of one that still hangs.
        return not self.failures or (time.monotonic() >= self.until and not self.open)

    def answered(self) -> None:
        """It answers, whatever it says."""
        self.failures, self.is_gone, self.answered_at = 0, False, time.monotonic()

    def failed(self, backoff: float, wait: float | None, *, is_gone: bool) -> None:
        """It is set aside: for `wait` seconds where it said so, else longer with each failure."""
        now, self.is_gone = time.monotonic(), is_gone
        # Those that were under way when the first one failed say nothing new.
        self.failures += not self.failures or now >= self.until
        # The exponent is bounded, as after a day of failures the power would be too large for a
        # float.
        delay = min(LONGEST_WAIT, backoff * 2 ** min(self.failures - 1, 20))
        self.until = max(self.until, now + (delay if wait is None else wait))


class Replicas:
    """All replicas of one role, with a bound of the requests under way at each."""

    def __init__(self, concurrency: Mapping[str, int], before: Iterable[Replica] = ()) -> None:
        """Args:
        concurrency: the bound of each, by its name.
        before: those of an earlier call: whoever had failed then is still set aside.
        """
        known = {each.name: each for each in before}
        self.all = [
            Replica(name, most) if name not in known else known[name].anew(most)
            for name, most in concurrency.items()
        ]
        self._freed = asyncio.Condition()

    def others(self, tried: Collection[Replica]) -> bool:
        """Whether a replica that isn't among `tried` may be asked now."""
        return any(each.is_available for each in self.all if each not in tried)

    @asynccontextmanager
    async def chosen(self, tried: Collection[Replica] = ()) -> AsyncIterator[Replica]:
        """The replica for the next request; waits while all have as many as they may.

        If none may be asked, as all have failed, it is the one to be tried again first.

        Args:
          tried: replicas that are passed over.
        """
        async with self._freed:
            await self._freed.wait_for(lambda: self._next(tried) is not None)
            replica = self._next(tried)
            assert replica is not None
            replica.open += 1
            replica.asked += 1
        try:
            yield replica
        finally:
            replica.open -= 1
            async with self._freed:
                self._freed.notify_all()

    def _next(self, tried: Collection[Replica]) -> Replica | None:
        left = [each for each in self.all if each not in tried]
        if available := [each for each in left if each.is_available]:
            free = [each for each in available if each.open < each.concurrency]
            # Of equals the one that was asked less: all are used from the start.
            return min(free, key=lambda each: (each.open, each.asked), default=None)
        free = [each for each in left if each.open < each.concurrency]
        return min(free, key=lambda each: each.until, default=None)
