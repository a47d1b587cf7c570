"""The replicas of an endpoint as one of the harness's models: each has a URL that it asks."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from requests import RequestException


class ReplicatedLM(LM):
    """Models of the harness that give the same answers, asked side by side.

    Each takes the next requests when it has answered its last ones. One that fails, after the tries
    that it makes itself, is left alone until the next call, and others answer what it was asked.
    """

    def __init__(self, replicas: Sequence[LM], together: int) -> None:
        """Args: `together` is the number of requests that a replica takes at a time."""
        super().__init__()
        self._replicas, self._together = replicas, together

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
        return self._replicas[0].apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self._replicas[0].chat_template(chat_template)

    @property
    def tokenizer_name(self) -> str:
        return self._replicas[0].tokenizer_name

    def _answers(self, kind: str, requests: Sequence[Instance]) -> list[Any]:
        """Raises: the last error of a replica, where all of them have failed."""
        starts = range(0, len(requests), self._together)
        waiting = deque((start, requests[start : start + self._together]) for start in starts)
        free, asked = deque(self._replicas), dict[Future[list[Any]], _Asked]()
        answers: dict[int, list[Any]] = {}
        failure: RequestException | None = None
        with ThreadPoolExecutor(len(self._replicas)) as threads:
            while waiting or asked:
                while waiting and free:
                    replica, (start, part) = free.popleft(), waiting.popleft()
                    future = threads.submit(getattr(replica, kind), list(part), disable_tqdm=True)
                    asked[future] = _Asked(replica, start, part)
                if not asked and failure is not None:
                    raise failure
                for future in wait(asked, return_when=FIRST_COMPLETED).done:
                    one = asked.pop(future)
                    try:
                        answers[one.start] = future.result()
                    except RequestException as error:
                        failure = error
                        waiting.appendleft((one.start, one.part))
                        continue
                    free.append(one.replica)
                    # Here and not by the replicas, whose threads would write at the same time.
                    for request, answer in zip(one.part, answers[one.start], strict=True):
                        self.cache_hook.add_partial(kind, request.arguments, answer)
        return [answer for start in starts for answer in answers[start]]


@dataclass(frozen=True)
class _Asked:
    """Requests that a replica has been asked, which begin at `start` among all of them."""

    replica: LM
    start: int
    part: Sequence[Instance]
