"""The replicas of an endpoint as one of the harness's models: each has a URL that it asks."""

import time
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from requests import RequestException

_LEAST_REST = 60.0
"""Seconds for which a replica that failed is left alone."""


class ReplicatedLM(LM):
    """Models of the harness that give the same answers, asked side by side.

    Each takes the next requests when it has answered its last ones. One that fails, after the tries
    that it makes itself, is left alone for a while, and others answer what it was asked.
    """

    def __init__(self, replicas: Sequence[LM], together: int) -> None:
        """Args: `together` is the number of requests that a replica takes at a time."""
        super().__init__()
        self._replicas, self._together = [_Replica(each) for each in replicas], together

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        return self._answers("loglikelihood", requests)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        return self._answers("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return self._answers("generate_until", requests)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return self._replicas[0].model.apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self._replicas[0].model.chat_template(chat_template)

    @property
    def tokenizer_name(self) -> str:
        return self._replicas[0].model.tokenizer_name

    def _answers(self, kind: str, requests: Sequence[Instance]) -> list[Any]:
        """Raises: the last error of a replica, where all of them have failed."""
        starts = range(0, len(requests), self._together)
        waiting = deque((start, requests[start : start + self._together]) for start in starts)
        idle, asked = list(self._replicas), dict[Future[list[Any]], _Asked]()
        answers: dict[int, list[Any]] = {}
        failed: dict[_Replica, RequestException] = {}
        with ThreadPoolExecutor(len(self._replicas)) as threads:
            while waiting or asked:
                while waiting and (replica := _next(idle, None if asked else failed)):
                    idle.remove(replica)
                    start, part = waiting.popleft()
                    ask = getattr(replica.model, kind)
                    future = threads.submit(ask, list(part), disable_tqdm=True)
                    asked[future] = _Asked(replica, start, part, time.monotonic())
                if not asked:
                    raise next(reversed(failed.values()))
                for future in wait(asked, return_when=FIRST_COMPLETED).done:
                    one = asked.pop(future)
                    idle.append(one.replica)
                    try:
                        answers[one.start] = future.result()
                    except RequestException as error:
                        failed[one.replica] = error
                        one.replica.rest(time.monotonic() - one.since)
                        waiting.appendleft((one.start, one.part))
                        continue
                    # Here and not by the replicas, whose threads would write at the same time.
                    for request, answer in zip(one.part, answers[one.start], strict=True):
                        self.cache_hook.add_partial(kind, request.arguments, answer)
        return [answer for start in starts for answer in answers[start]]


@dataclass(eq=False)
class _Replica:
    """Attributes: `until` is when it is asked again, by `time.monotonic`."""

    model: LM
    until: float = 0.0

    def rest(self, seconds: float) -> None:
        """It has failed in so many seconds: of one that hangs, all of its tries' timeouts, for
        which a call may have to wait. So at most a tenth of the time is spent on trying it."""
        self.until = time.monotonic() + max(_LEAST_REST, 10 * seconds)


@dataclass(frozen=True)
class _Asked:
    """Requests that a replica has been asked, which begin at `start` among all of them.

    Attributes:
      since: by `time.monotonic`.
    """

    replica: _Replica
    start: int
    part: Sequence[Instance]
    since: float


def _next(idle: Sequence[_Replica], failed: Collection[_Replica] | None) -> _Replica | None:
    """The replica that is asked next; None where all are to be left alone.

    Args:
      failed: those that failed in this call, where nobody else is being asked: then one that isn't
        among them is asked, however long it is to be left alone.
    """
    now = time.monotonic()
    if rested := next((each for each in idle if each.until <= now), None):
        return rested
    if failed is None:
        return None
    left = (each for each in idle if each not in failed)
    return min(left, key=lambda each: each.until, default=None)
