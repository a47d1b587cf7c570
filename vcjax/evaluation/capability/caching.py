"""A model of the harness with a cache: each request is sent once, and answers outlive a kill."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CacheHook

from vcjax.core.progress import Progress
from vcjax.core.seeds import derive_seed
from vcjax.roles.cache import CallCache, fingerprint

REQUEST_KEY = ("request",)
_CHUNK = 2**16
"""Characters of the log-likelihood requests that are sent and recorded together."""


class CachedLM(LM):
    """Another of the harness's models, with its answers in a cache.

    Equal requests are sent once. Log-likelihood requests are sent in chunks of a fixed order, each
    recorded whole, so that a resumed run batches the rest as the killed one would have done. Texts
    are recorded as they come.

    A record is `{request, kind, task, document, answer}`.
    """

    # The harness has a cache of its own (`CachingLM` there), but it unpickles its file.

    def __init__(self, lm: LM, cache: CallCache, identity: str, seed: int) -> None:
        """Args:
        cache: keyed by REQUEST_KEY.
        identity: of the model, a part of the key of every request.
        seed: of sampled texts.
        """
        super().__init__()
        self.lm, self.cache, self.identity, self.seed = lm, cache, identity, seed
        # The harness's models report each text to this hook as it ends, which is how a kill loses
        # none of them.
        lm.set_cache_hook(_Hook(self.record))
        self._requests: dict[str, Instance] = {}
        self._bar = Progress(desc="requests", total=None, disable=True)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(logprob, greedy) for logprob, greedy in self._answers("loglikelihood", requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return self._answers("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return self._answers("generate_until", list(self._seeded(requests)))

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return self.lm.apply_chat_template(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self.lm.chat_template(chat_template)

    @property
    def tokenizer_name(self) -> str:
        return self.lm.tokenizer_name

    def record(self, kind: str, answers: Iterable[tuple[Sequence[Any], Any]]) -> None:
        """Records pairs of a request's arguments and its answer, unless they are in the cache."""
        records = {}
        for arguments, answer in answers:
            key = self._key(kind, arguments)
            if (key,) not in self.cache.records:
                request = self._requests[key]
                records[key] = {
                    "request": key,
                    "kind": kind,
                    "task": request.task_name,
                    "document": request.doc_id,
                    "answer": answer,
                }
        self.cache.extend(records.values())
        self._bar.update(len(records))

    def _key(self, kind: str, arguments: Sequence[Any]) -> str:
        return fingerprint(self.identity, kind, *arguments)

    def _seeded(self, requests: Sequence[Instance]) -> Iterator[Instance]:
        """The requests; of equal ones that sample, each repetition gets another seed."""
        repetitions: Counter[str] = Counter()
        for request in requests:
            context, settings = request.arguments
            # Greedy repetitions are equal requests, which are sent once.
            if settings.get("do_sample") or settings.get("temperature"):
                key = self._key("", request.arguments)
                seed = derive_seed(self.seed, key, repetitions[key])
                repetitions[key] += 1
                request = replace(request, arguments=(context, {**settings, "seed": seed}))
            yield request

    def _answers(self, kind: str, requests: Sequence[Instance]) -> list[Any]:
        # Equal requests fall together in the dictionary, are sent once, and get one answer below.
        keys = [self._key(kind, request.arguments) for request in requests]
        self._requests = dict(zip(keys, requests, strict=True))
        records = self.cache.records
        cached = sum((key,) in records for key in self._requests)
        total = len(self._requests)
        with Progress(total=total, initial=cached, desc=kind) as self._bar:
            for chunk in self._chunks(kind):
                missing = [self._requests[key] for key in chunk if (key,) not in records]
                if missing:
                    answers = getattr(self.lm, kind)(missing, disable_tqdm=True)
                    arguments = (request.arguments for request in missing)
                    self.record(kind, zip(arguments, answers, strict=True))
        return [records[key,]["answer"] for key in keys]

    def _chunks(self, kind: str) -> Iterator[list[str]]:
        if kind == "generate_until":
            yield list(self._requests)
            return
        # Requests of similar length make full batches, and those of one context share its prefix.
        order = sorted(self._requests.items(), key=lambda item: _rank(item[1]), reverse=True)
        chunk, size = [], 0
        for key, request in order:
            chunk.append(key)
            size += sum(map(len, request.arguments))
            if size >= _CHUNK:
                yield chunk
                chunk, size = [], 0
        yield chunk


class _Hook(CacheHook):
    """How the harness's models report an answer before they return all of them."""

    def __init__(self, record: Callable[[str, list[tuple[Sequence[Any], Any]]], None]) -> None:
        super().__init__(None)
        self._record = record

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        self._record(attr, [(tuple(req), res)])


def _rank(request: Instance) -> tuple[int, tuple[str, ...]]:
    return len(request.arguments[0]), request.arguments
