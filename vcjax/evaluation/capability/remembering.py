"""A model that is asked everything once: its answers outlive a killed run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CacheHook
from tqdm import tqdm

from vcjax.core.seeds import derive_seed
from vcjax.roles.cache import CallCache, fingerprint

ANSWER_KEY = ("request",)
_CHUNK = 2**16
"""Characters of the requests for log-likelihoods that are asked and recorded together."""


class RememberingLM(LM):
    """Another of the harness's models, whose answers are kept in a store.

    (The harness has a cache of its own, which pickles.) Equal requests are asked once. Requests for
    log-likelihoods are asked in chunks of a fixed order, each recorded whole, so that a run that
    was killed asks the rest as it would have done. Texts are recorded as they come.

    A record is `{request, kind, task, document, answer}`.
    """

    def __init__(self, lm: LM, cache: CallCache, identity: str, seed: int) -> None:
        """Args:
        cache: keyed by ANSWER_KEY.
        identity: stands for the model: its answers are not another's.
        seed: of the texts that are sampled.
        """
        super().__init__()
        self.lm, self.cache, self.identity, self.seed = lm, cache, identity, seed
        lm.set_cache_hook(_Hook(self))
        self._asked: dict[str, Instance] = {}
        self._bar = tqdm(disable=True)

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

    def keep(self, kind: str, answers: Iterable[tuple[Sequence[Any], Any]]) -> None:
        """Records pairs of a request's arguments and its answer, but those that are there."""
        records = {}
        for arguments, answer in answers:
            key = self._key(kind, arguments)
            if (key,) not in self.cache.records:
                asked = self._asked[key]
                records[key] = {
                    "request": key,
                    "kind": kind,
                    "task": asked.task_name,
                    "document": asked.doc_id,
                    "answer": answer,
                }
        self.cache.extend(records.values())
        self._bar.update(len(records))

    def _key(self, kind: str, arguments: Sequence[Any]) -> str:
        return fingerprint(self.identity, kind, *arguments)

    def _seeded(self, requests: Sequence[Instance]) -> Iterator[Instance]:
        """The requests; one that samples and is repeated gets a seed of its own each time."""
        times: Counter[str] = Counter()
        for request in requests:
            context, settings = request.arguments
            if settings.get("do_sample") or settings.get("temperature"):
                key = self._key("", request.arguments)
                seed = derive_seed(self.seed, key, times[key])
                times[key] += 1
                request = replace(request, arguments=(context, {**settings, "seed": seed}))
            yield request

    def _answers(self, kind: str, requests: Sequence[Instance]) -> list[Any]:
        keys = [self._key(kind, request.arguments) for request in requests]
        self._asked = dict(zip(keys, requests, strict=True))
        records = self.cache.records
        done = sum((key,) in records for key in self._asked)
        total = len(self._asked)
        with tqdm(total=total, initial=done, desc=kind, disable=None) as self._bar:
            for chunk in self._chunks(kind):
                missing = [self._asked[key] for key in chunk if (key,) not in records]
                if missing:
                    answers = getattr(self.lm, kind)(missing, disable_tqdm=True)
                    self.keep(kind, zip((each.arguments for each in missing), answers, strict=True))
        return [records[key,]["answer"] for key in keys]

    def _chunks(self, kind: str) -> Iterator[list[str]]:
        if kind == "generate_until":
            yield list(self._asked)
            return
        # Alike lengths, and the continuations of one context, come together.
        order = sorted(self._asked.items(), key=lambda item: _rank(item[1]), reverse=True)
        chunk, size = [], 0
        for key, request in order:
            chunk.append(key)
            size += sum(map(len, request.arguments))
            if size >= _CHUNK:
                yield chunk
                chunk, size = [], 0
        yield chunk


class _Hook(CacheHook):
    """How the harness's models tell of an answer before they return all of them."""

    def __init__(self, remembering: RememberingLM) -> None:
        super().__init__(None)
        self._remembering = remembering

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        self._remembering.keep(attr, [(tuple(req), res)])


def _rank(request: Instance) -> tuple[int, tuple[str, ...]]:
    return len(request.arguments[0]), request.arguments
