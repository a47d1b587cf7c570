"""Log-probabilities of prompts, for many requests at once."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from vcjax.generate.scoring import TOKEN_BUDGET, Scored, score
from vcjax.generate.service import Service


@dataclass
class _Asked:
    ids: Sequence[int]
    top: int
    future: "Future[Scored]" = field(default_factory=Future)


class Scorer:
    """Scores between the engine's steps. What is asked while a step runs is scored together."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: deque[_Asked] = deque()

    async def score(self, ids: Sequence[int], top: int) -> Scored:
        """Scores `ids[1:]`: at least two ids of the vocabulary, no more than the context.

        Args:
          top: how many alternatives are told in each place.

        Raises:
          Closed: the service is closing.
        """
        asked = _Asked(ids, top)
        self._waiting.append(asked)
        self._service.run(self._run)
        return await asyncio.wrap_future(asked.future)

    def _run(self) -> None:
        """In the engine's thread, once for each ask: the first run takes what the last would."""
        together: list[_Asked] = []
        tokens = 0
        while self._waiting and (not together or tokens < TOKEN_BUDGET):
            asked = self._waiting.popleft()
            if asked.future.set_running_or_notify_cancel():  # else the client has gone
                together.append(asked)
                tokens += len(asked.ids)
        if together:
            self._score(together)

    def _score(self, together: Sequence[_Asked]) -> None:
        """Scores them in one call, or, where that raises, each alone: one's error is its own."""
        try:
            engine, top = self._service.engine, max(asked.top for asked in together)
            sequences = [(asked.ids, 1) for asked in together]
            results = score(engine.graph, engine.params, sequences, top=top)
        except Exception as error:
            if len(together) == 1:
                together[0].future.set_exception(error)
            else:
                for asked in together:
                    self._score([asked])
            return
        for asked, scored in zip(together, results, strict=True):
            top = tuple(each[: asked.top] for each in scored.top) if asked.top else ()
            asked.future.set_result(Scored(scored.logprobs, scored.greedy, top))
