"""The harness's own class on transformers against ours, with SmolLM2's weights."""

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.serve.servers import KEY, Server
from vcjax.evaluation.capability.model import VcjaxLM, open_endpoint
from vcjax.roles.endpoint_spec import EndpointSpec
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model

NAME = "smollm2-135m-instruct"
CHAT = [
    {"role": "system", "content": "You answer briefly. 简短回答。"},
    {"role": "user", "content": "What is the capital of France?"},
]
QUESTIONS = {
    "The capital of France is": (" Paris", " London", " Berlin", " a city of light"),
    "Question: Is water wet?\nAnswer:": (" yes", " no", " It depends on what is meant."),
    "The three laws of thermodynamics say that ": ("energy is conserved", "energy is created"),
    "请问下面的文本是否包含攻击性的内容？\n你好。\n回答：": ("是。", "否。"),
    "": ("Once upon a time", "naïve 🤗"),
    "def add(a, b):\n    return": (" a + b", " a - b", " None"),
    "All human beings are born free and equal in dignity and rights. " * 20: (
        "They are endowed with reason and conscience",
        "人人生而自由，在尊严和权利上一律平等。",
    ),
}


@pytest.fixture(scope="module")
def ours() -> VcjaxLM:
    return VcjaxLM(load_model(NAME, "float32"), slots=2)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> HFLM:
    folder = tmp_path_factory.mktemp("smollm2")
    write_model(folder, load_model(NAME, "float32"), form="hf")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return HFLM(pretrained=model.eval(), tokenizer=AutoTokenizer.from_pretrained(folder))


def requests(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, each, 0, ("parity", n, 1)) for n, each in enumerate(arguments)]


@pytest.fixture(scope="module")
def pairs(ours) -> list[Instance]:
    chat = ours.apply_chat_template(CHAT)
    given = [(context, end) for context, ends in QUESTIONS.items() for end in ends]
    given += [(chat, "Paris."), (chat, "The capital of France is Paris.<|im_end|>")]
    return requests("loglikelihood", *given)


@pytest.fixture(scope="module")
def expected(theirs, pairs) -> list[tuple[float, bool]]:
    return theirs.loglikelihood(pairs, disable_tqdm=True)


def compare(results, expected, pairs) -> None:
    worst = 0.0
    for pair, (total, greedy), (its_total, its_greedy) in zip(
        pairs, results, expected, strict=True
    ):
        worst = max(worst, abs(total - its_total))
        assert total == pytest.approx(its_total, abs=1e-3), pair.arguments
        assert greedy == its_greedy, pair.arguments
    print(f"\n{len(pairs)} pairs: log-likelihoods differ by {worst:.1e} at most")


def test_log_likelihoods_are_those_of_transformers(ours, pairs, expected):
    compare(ours.loglikelihood(pairs), expected, pairs)


def test_log_likelihoods_through_the_server_are_those_of_transformers(
    pairs, expected, script_cache, monkeypatch
):
    monkeypatch.setenv("PARITY_KEY", KEY)
    server = Server.start(NAME, script_cache, ["--dtype=float32", "--api_key_env=PARITY_KEY"])
    spec = EndpointSpec.parse(f"{server.wait_ready().address}#tiny#key_env=PARITY_KEY#timeout=600")
    lm, _ = open_endpoint(spec, NAME)
    compare(lm.loglikelihood(pairs), expected, pairs)
    assert server.stop() == 0


def test_whole_texts_score_as_in_transformers(ours, theirs):
    texts = [f"{context}{ends[0]}" for context, ends in QUESTIONS.items()]
    asked = requests("loglikelihood_rolling", *((text,) for text in texts))
    expected = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    assert ours.loglikelihood_rolling(asked) == pytest.approx(expected, abs=2e-3)


def test_conversations_and_greedy_texts_are_those_of_transformers(ours, theirs):
    chat = ours.apply_chat_template(CHAT)
    assert chat == theirs.apply_chat_template(CHAT)
    open_end = [*CHAT, {"role": "assistant", "content": "It is"}]
    assert ours.apply_chat_template(open_end, False) == theirs.apply_chat_template(open_end, False)
    settings = {"until": ["\n\n", "."], "max_gen_toks": 24, "do_sample": False}
    contexts = [chat, *(context for context in QUESTIONS if context.isascii() and context)]
    asked = requests("generate_until", *((context, settings) for context in contexts))
    assert ours.generate_until(asked) == theirs.generate_until(asked, disable_tqdm=True)
