"""Several models of the harness asked side by side, one of which isn't there."""

import socket
from collections import Counter

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CacheHook
from lm_eval.api.registry import get_model
from requests import ConnectionError, ReadTimeout

from tests.evaluation.capability.test_capability_model import asked
from vcjax.evaluation.capability.model import VcjaxLM
from vcjax.evaluation.capability.replicas import ReplicatedLM

PAIRS = asked("loglikelihood", *((f"{n} and", f" {n + 1}") for n in range(7)))
TEXTS = asked("generate_until", *((f"{n}", {"until": [], "max_gen_toks": 3}) for n in range(5)))


class Recorded(CacheHook):
    """What it is asked, by kind and arguments."""

    def __init__(self) -> None:
        super().__init__(None)
        self.answers: dict = {}
        self.times: Counter = Counter()

    def add_partial(self, attr, req, res) -> None:
        self.answers[attr, str(req)] = res
        self.times[attr, str(req)] += 1


def _of(requests: list[Instance], kind: str, answers: list) -> dict:
    pairs = zip(requests, answers, strict=True)
    return {(kind, str(request.arguments)): answer for request, answer in pairs}


@pytest.fixture(scope="module")
def gone(tiny_folder) -> LM:
    """A replica at whose address nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as once:
        url = f"http://127.0.0.1:{once.getsockname()[1]}/v1/completions"
    settings = {"base_url": url, "tokenizer_backend": "huggingface", "max_retries": 1}
    return get_model("local-completions").create_from_arg_obj(
        {**settings, "model": "tiny", "tokenizer": str(tiny_folder), "batch_size": 2}
    )


def test_the_others_answer_what_one_that_is_gone_was_asked(lm: VcjaxLM, gone: LM):
    replicas, hook = ReplicatedLM([gone, lm], 2), Recorded()
    replicas.set_cache_hook(hook)
    scores, texts = lm.loglikelihood(PAIRS), lm.generate_until(TEXTS)
    found = replicas.loglikelihood(PAIRS)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in scores]
    assert [total for total, _ in found] == pytest.approx([total for total, _ in scores], abs=1e-4)
    assert replicas.generate_until(TEXTS) == texts
    assert hook.answers == {
        **_of(PAIRS, "loglikelihood", found),
        **_of(TEXTS, "generate_until", texts),
    }
    assert set(hook.times.values()) == {1}
    assert replicas.loglikelihood([]) == []


def test_where_all_are_gone_it_says_so(gone: LM):
    with pytest.raises(ConnectionError, match="refused"):
        ReplicatedLM([gone, gone], 2).loglikelihood(PAIRS)


class Hanging(ReplicatedLM):
    """Fails whatever it is asked, and counts how often that is."""

    def __init__(self) -> None:
        super().__init__([], 1)
        self.asked = 0

    def loglikelihood(self, requests, disable_tqdm=False):
        self.asked += 1
        raise ReadTimeout("no answer")


def test_one_that_failed_is_left_alone_in_the_calls_to_come_and_then_asked_again(lm: VcjaxLM):
    hanging = Hanging()
    replicas = ReplicatedLM([hanging, lm], 2)
    for _ in range(3):  # as for each chunk of a task
        assert len(replicas.loglikelihood(PAIRS)) == len(PAIRS)
    assert hanging.asked == 1
    for each in replicas._replicas:
        each.until = 0.0
    assert len(replicas.loglikelihood(PAIRS)) == len(PAIRS)
    assert hanging.asked == 2
    alone = ReplicatedLM([hanging], 2)
    for _ in range(2):  # whoever is alone is asked, whatever happened before
        with pytest.raises(ReadTimeout, match="no answer"):
            alone.loglikelihood(PAIRS)
    assert hanging.asked == 4
