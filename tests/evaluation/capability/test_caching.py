"""Each request is sent once, and a killed run continues as it would have done."""

import shutil
from itertools import pairwise

import pytest
from lm_eval.api.instance import Instance

from vcjax.evaluation.capability.caching import REQUEST_KEY, CachedLM
from vcjax.evaluation.capability.model import VcjaxLM
from vcjax.roles.cache import CallCache

SAMPLED = {"until": ["\n"], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0}
GREEDY = {"until": ["\n"], "max_gen_toks": 12, "do_sample": False}


class Listening(VcjaxLM):
    """Keeps the arguments of what it is asked; answers `patience` calls, then is killed."""

    def __init__(self, pretrained, patience: float = float("inf")) -> None:
        super().__init__(pretrained, slots=2)
        self.heard, self.patience = [], patience

    def loglikelihood(self, requests, disable_tqdm=False):
        if len(self.heard) == self.patience:
            raise KeyboardInterrupt
        self.heard.append([request.arguments for request in requests])
        return super().loglikelihood(requests)

    def generate_until(self, requests, disable_tqdm=False):
        self.heard.append([request.arguments for request in requests])
        return super().generate_until(requests)


def instances(kind: str, *arguments: tuple) -> list[Instance]:
    return [
        Instance(kind, {}, given, 0, ("made_up", number, 1))
        for number, given in enumerate(arguments)
    ]


@pytest.fixture
def pairs() -> list[Instance]:
    """More than a chunk of them, in no order, and each one twice."""
    contexts = [f"{'The rubric. ' * (7 * n % 11)}Of {n}" for n in range(40)]
    given = [
        (context, f" it says {'so ' * (60 * (n % 3))}{n}")
        for context in contexts
        for n in range(20)
    ]
    return instances("loglikelihood", *given, *given)


@pytest.fixture
def caching(tmp_path):
    """Wraps a model with the cache of a name."""
    caches = []

    def make(lm: VcjaxLM, name: str = "answers", identity: str = "tiny") -> CachedLM:
        caches.append(CallCache(tmp_path / f"{name}.jsonl", REQUEST_KEY))
        return CachedLM(lm, caches[-1], identity, seed=3)

    yield make
    for cache in caches:
        cache.close()


def test_equal_requests_are_asked_once_and_answered_in_order(tiny, caching, pairs):
    lm = Listening(tiny)
    answers = caching(lm).loglikelihood(pairs)
    asked = [arguments for chunk in lm.heard for arguments in chunk]
    assert len(asked) == len(set(asked)) == len(pairs) // 2
    assert answers[: len(asked)] == answers[len(asked) :]
    alone = VcjaxLM(tiny).loglikelihood(pairs[:30])
    for (total, greedy), (its_total, its_greedy) in zip(answers[:30], alone, strict=True):
        assert total == pytest.approx(its_total, abs=1e-3)
        assert greedy == its_greedy


def test_continuations_of_one_context_are_asked_together(tiny, caching, pairs):
    lm = Listening(tiny)
    caching(lm).loglikelihood(pairs)
    contexts = [context for chunk in lm.heard for context, _ in chunk]
    changes = sum(one != other for one, other in pairwise(contexts))
    assert changes == len(set(contexts)) - 1


def test_a_killed_run_asks_the_rest_and_ends_in_the_same_bits(tiny, caching, pairs):
    expected = caching(Listening(tiny), "whole").loglikelihood(pairs)
    killed = Listening(tiny, patience=1)
    with pytest.raises(KeyboardInterrupt):
        caching(killed).loglikelihood(pairs)
    lm = Listening(tiny)
    assert caching(lm).loglikelihood(pairs) == expected
    assert 0 < sum(map(len, lm.heard)) == len(pairs) // 2 - len(killed.heard[0])
    again = Listening(tiny, patience=0)
    assert caching(again).loglikelihood(pairs) == expected


def test_texts_are_kept_as_they_come(tiny, caching, tmp_path):
    prompts = instances("generate_until", *((f"So {n}", GREEDY) for n in range(6)))
    lm = Listening(tiny)
    first = caching(lm)
    received = []

    def stop_after_three(attr, arguments, text):
        received.append(text)
        first.record(attr, [(arguments, text)])
        if len(received) == 3:
            raise KeyboardInterrupt

    lm.cache_hook.add_partial = stop_after_three
    with pytest.raises(KeyboardInterrupt):
        first.generate_until(prompts)
    assert len(first.cache.records) == 3
    second = Listening(tiny)
    texts = caching(second).generate_until(prompts)
    assert len(second.heard[0]) == 3
    assert texts == VcjaxLM(tiny).generate_until(prompts)


def test_a_repeated_sample_has_a_seed_of_its_own_that_a_resumed_run_has_too(
    tiny, caching, tmp_path
):
    prompts = instances("generate_until", *[("So", SAMPLED)] * 4)
    texts = caching(Listening(tiny)).generate_until(prompts)
    assert len(set(texts)) == 4
    kept = tmp_path / "answers.jsonl"
    shutil.copy(kept, tmp_path / "half.jsonl")
    lines = kept.read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "half.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    assert caching(Listening(tiny), "half").generate_until(prompts) == texts
    assert caching(Listening(tiny), "none").generate_until(prompts) == texts


def test_a_greedy_text_is_made_once_however_often_it_is_asked_for(tiny, caching):
    lm = Listening(tiny)
    (text, again) = caching(lm).generate_until(instances("generate_until", *[("So", GREEDY)] * 2))
    assert text == again
    assert [len(chunk) for chunk in lm.heard] == [1]


def test_another_models_answers_are_not_taken(tiny, caching):
    requests = instances("loglikelihood_rolling", ("Both sides",), ("两面",))
    first = caching(VcjaxLM(tiny)).loglikelihood_rolling(requests)
    other = caching(VcjaxLM(tiny), identity="another")
    assert other.loglikelihood_rolling(requests) == first
    assert len(other.cache.records) == 2 * len(requests)
