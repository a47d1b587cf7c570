"""SmolLM2-135M-Instruct, the shipped model, against transformers; downloads it the first time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.parity.live import torch_logits
from vcjax.generate.engine import Engine
from vcjax.generate.likelihood import score_answers
from vcjax.generate.requests import Request, SamplingParams
from vcjax.model.build import abstract, plain_logits
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model
from vcjax.weights.resolve import fetch_shipped

NAME = "smollm2-135m-instruct"
ROOT = Path(__file__).parents[2]
CHAT = [
    {"role": "system", "content": "You answer briefly. 简短回答。"},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
    {"role": "user", "content": "And of China? 用中文回答。"},
]


@pytest.fixture(scope="module")
def loaded():
    return load_model(NAME, "float32")


@pytest.fixture(scope="module")
def exported(loaded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2")
    write_model(folder, loaded, form="hf")
    return folder


@pytest.fixture(scope="module")
def theirs(exported):
    model, info = AutoModelForCausalLM.from_pretrained(
        exported, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(exported):
    return AutoTokenizer.from_pretrained(exported)


def _text_ids(loaded) -> np.ndarray:
    ids = loaded.tokenizer.encode((ROOT / "LICENSE").read_text(encoding="utf-8"))
    return np.asarray([ids[:600]], np.int32)


def test_weights_are_what_transformers_reads_from_the_gguf_itself(theirs):
    """An independent reading of the file: quantisation, permutation of q and k, tied head."""
    path = fetch_shipped(NAME)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    expected = model.state_dict()
    assert expected.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("rows", ["random", "text"])
def test_logits_are_as_near_float64_as_twice_those_of_transformers(rows, loaded, theirs):
    """Invariant 1 on real weights, for the function behind `model.logits`."""
    draw = np.random.Generator(np.random.PCG64(7))
    random_ids = draw.integers(0, loaded.config.vocab_size, (1, 600)).astype(np.int32)
    ids = random_ids if rows == "random" else _text_ids(loaded)
    assert ids.shape[1] >= 512
    graph, _ = abstract(loaded.config)
    ours = np.asarray(plain_logits(graph, loaded.params, ids))
    single = torch_logits(theirs, ids)
    double = torch_logits(theirs.double(), ids)
    theirs.float()
    error, reference = (np.abs(logits - double).max() for logits in (ours, single))
    print(
        f"\n{rows}: ours {error:.2e}, transformers {reference:.2e} from float64; "
        f"ours from transformers {np.abs(ours - single).max():.2e}; "
        f"largest logit {np.abs(double).max():.1f}"
    )
    assert error <= 2 * reference


def test_tokenizer_gives_the_same_ids(loaded, tokenizer):
    texts = [
        (ROOT / "LICENSE").read_text(encoding="utf-8"),
        "  naïve\t🤗\n\n",
        "人人生而自由，平等。",
    ]
    for text in texts:
        ids = loaded.tokenizer.encode(text)
        assert tokenizer(text, add_special_tokens=False).input_ids == ids
        assert loaded.tokenizer.decode(ids) == tokenizer.decode(ids) == text


def test_chat_template_gives_the_same_text_and_ids(loaded, tokenizer):
    ours = loaded.tokenizer.backend
    for prompt in (True, False):
        options = {"add_generation_prompt": prompt, "tokenize": False}
        rendered = tokenizer.apply_chat_template(CHAT, **options)
        assert rendered == ours.apply_chat_template(CHAT, **options)
        ids = tokenizer(rendered, add_special_tokens=False).input_ids
        assert ids == loaded.tokenizer.encode(rendered, special=True)
        assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 4 + prompt


def test_greedy_generation_is_that_of_transformers(loaded, theirs, tokenizer):
    chat = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
    prompts = [
        loaded.tokenizer.encode(chat, special=True),
        loaded.tokenizer.encode("The three laws of thermodynamics say that"),
        _text_ids(loaded)[0, :300].tolist(),
    ]
    engine = Engine(loaded.config, loaded.params, slots=2)
    eos = loaded.eos_ids
    results = engine.generate([Request(tuple(p), SamplingParams(32), eos_ids=eos) for p in prompts])
    for prompt, result in zip(prompts, results, strict=True):
        with torch.no_grad():
            ids = torch.tensor([prompt])
            whole = theirs.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=32
            )
        expected = [token for token in whole[0, len(prompt) :].tolist() if token not in eos]
        print(f"\n{len(expected)} tokens: {loaded.tokenizer.decode(expected)!r}")
        assert list(result.tokens) == expected


def test_answers_to_a_conversation_score_as_in_transformers(loaded, theirs, tokenizer):
    graph, _ = abstract(loaded.config)
    answers = ["Beijing.", "Shanghai.", "北京。", "The capital of China is Beijing.", "<|im_end|>"]
    conversations = [CHAT, CHAT[:2], CHAT[1:2]]
    ours = score_answers(
        graph, loaded.params, loaded.tokenizer, conversations, [answers] * len(conversations)
    )
    worst = 0.0
    for conversation, totals in zip(conversations, ours, strict=True):
        prompt = tokenizer.apply_chat_template(
            conversation, add_generation_prompt=True, return_dict=False
        )
        for answer, total in zip(answers, totals, strict=True):
            ids = tokenizer(answer, add_special_tokens=False, split_special_tokens=True).input_ids
            logits = torch.from_numpy(torch_logits(theirs, np.asarray([[*prompt, *ids]])))[0]
            logprobs = torch.log_softmax(logits.double(), -1)[len(prompt) - 1 : -1]
            expected = logprobs.gather(-1, torch.tensor(ids)[:, None]).sum().item()
            worst = max(worst, abs(total - expected))
            assert total == pytest.approx(expected, abs=1e-3), answer
    print(f"\nlog-likelihoods of answers differ by {worst:.1e} at most")
