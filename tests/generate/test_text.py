"""The text layer: prompts in, text out, whole or in pieces; dialogues."""

from contextlib import closing
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vcjax
from tests.tiny import EOS_IDS
from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.generate.engine import Engine
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import Dialogue, TextEngine
from vcjax.model.build import abstract, plain_logits

SAMPLING = SamplingParams(12, temperature=1.0, min_tokens=4, seed=5)
CHAT = [{"role": "user", "content": "你好 Why?"}]


@pytest.fixture(scope="module")
def model(tiny_folder):
    return vcjax.load(str(tiny_folder))


def test_a_stream_adds_up_to_what_generate_gives(text_engine):
    for seed in range(4):
        sampling = SamplingParams(40, temperature=1.0, seed=seed)
        (result,) = text_engine.engine.generate([text_engine.request(CHAT, sampling)])
        pieces = list(text_engine.stream(CHAT, sampling))
        assert "".join(pieces) == text_engine.tokenizer.decode(result.tokens)


def test_a_piece_waits_for_the_rest_of_its_character(text_engine):
    # A schema with one possible text makes the random model write it, byte by byte.
    only = "公平的回答😀 fair"
    sampling = SamplingParams(100, json_schema={"const": only})
    pieces = list(text_engine.stream("Say it.", sampling))
    assert "".join(pieces) == f'"{only}"'
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) > 5


def test_prompts_of_one_call_draw_from_seeds_of_their_own(text_engine):
    sampling = SamplingParams(16, temperature=1.0, seed=4)
    first, second = text_engine.generate([CHAT, CHAT], sampling)
    assert first != second
    assert text_engine.generate([CHAT], sampling) == [first]


def test_one_text_instead_of_a_list_is_refused(text_engine):
    with pytest.raises(UserError, match="list"):
        text_engine.generate("Why?", SamplingParams())


def test_a_conversation_is_rendered_with_the_chat_template(text_engine):
    request = text_engine.request(CHAT, SamplingParams())
    text = text_engine.tokenizer.decode(request.prompt, skip_special=False)
    assert text == "<|im_start|>user\n你好 Why?<|im_end|>\n<|im_start|>assistant\n"
    assert request.eos_ids == EOS_IDS


def test_a_saved_model_loads_as_the_same_model(model, tmp_path):
    tokens = np.arange(100, 124).reshape(2, 12)
    logits = np.asarray(model.logits(tokens))
    assert logits.shape == (2, 12, model.config.vocab_size)
    assert logits.dtype == np.float32
    model.save(tmp_path / "hf", format="hf")
    vcjax.load(str(tmp_path / "hf")).save(tmp_path / "checkpoint", format="checkpoint")
    again = vcjax.load(str(tmp_path / "checkpoint"))
    np.testing.assert_array_equal(again.logits(tokens), logits)
    sampling = {"max_tokens": 12, "temperature": 1.0, "seed": 3}
    assert again.generate(["Why?", CHAT], **sampling) == model.generate(["Why?", CHAT], **sampling)
    assert again.lineage["parents"][0]["hash"] == vcjax.load(str(tmp_path / "hf")).lineage["hash"]


def test_more_copies_than_there_are_devices_are_refused_before_the_model_is_read():
    with pytest.raises(UserError, match="replicas=99, tensor=1: this machine has"):
        vcjax.load("no/such/model", replicas=99)


def test_a_folder_that_exists_is_not_written_over(model, tmp_path):
    with pytest.raises(UserError, match="exists; choose another folder"):
        model.save(tmp_path)


def test_logits_want_a_matrix_of_integers(model):
    for tokens in (np.arange(3), np.ones((1, 3), np.float32)):
        with pytest.raises(UserError, match=r"integers \[batch, length\]"):
            model.logits(tokens)
    for strange in (-1, model.config.vocab_size):
        with pytest.raises(UserError, match=f"token {strange} isn't in the model's vocabulary"):
            model.logits(np.array([[5, strange]]))


def test_logits_can_be_a_part_of_a_compiled_function(model):
    tokens = np.array([[5, 6, 7]])
    compiled = jax.jit(lambda tokens: model.logits(tokens)[:, -1].argmax(-1))
    assert compiled(tokens) == model.logits(tokens)[:, -1].argmax(-1)


def test_a_model_without_a_tokenizer_loads_and_only_using_it_fails(tiny_folder, tmp_path):
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    bare = vcjax.load(str(tmp_path))
    graph, _ = abstract(bare.config)
    tokens = jnp.arange(100, 112)[None]
    np.testing.assert_array_equal(
        bare.logits(tokens), plain_logits(graph, bare.loaded.params, tokens)
    )
    for use in (
        lambda: bare.tokenizer,
        lambda: bare.generate(["Why?"], max_tokens=1),
        lambda: bare.log_likelihood(["a"], ["b"]),
    ):
        with pytest.raises(UserError, match="this model has no tokenizer"):
            use()


@pytest.fixture(scope="module")
def narrow(tiny) -> TextEngine:
    """Its context has room for three short exchanges."""
    loaded = replace(tiny, config=replace(tiny.config, max_position=160))
    return TextEngine(loaded, Engine(loaded.config, loaded.params, slots=1))


def answer_to(text: TextEngine, seed: int, *contents: str) -> str:
    """The answer to a conversation after the system's `Be fair.`"""
    roles = ("user", "assistant") * len(contents)
    turns = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    messages = [{"role": "system", "content": "Be fair."}, *turns]
    sampling = replace(SAMPLING, seed=derive_seed(5, seed))
    return "".join(text.stream(messages, sampling))


def test_each_answer_is_to_the_whole_conversation(text_engine):
    dialogue = Dialogue(text_engine, SAMPLING, "Be fair.")
    first = "".join(dialogue.ask("你好"))
    assert first == answer_to(text_engine, 0, "你好")
    assert "".join(dialogue.ask("Why?")) == answer_to(text_engine, 1, "你好", first, "Why?")
    dialogue.reset()
    assert "".join(dialogue.ask("你好")) == first


def test_an_answer_that_is_broken_off_counts_as_far_as_it_came(text_engine):
    dialogue = Dialogue(text_engine, SAMPLING, "Be fair.")
    with closing(dialogue.ask("你好")) as pieces:
        begun = next(pieces) + next(pieces)
    assert "".join(dialogue.ask("Why?")) == answer_to(text_engine, 1, "你好", begun, "Why?")
    assert text_engine.engine.stats().decoding == 0
    # Of one that never began nothing is kept.
    dialogue.reset()
    dialogue.ask("你好").close()
    with closing(dialogue.ask("Who?")) as pieces:
        assert next(pieces)


def test_the_oldest_exchanges_are_forgotten_when_the_context_is_full(narrow):
    forgotten: list[int] = []
    dialogue = Dialogue(narrow, SAMPLING, "Be fair.", lambda: forgotten.append(len(answers)))
    answers: list[str] = []
    for turn in range(8):
        answers.append("".join(dialogue.ask(f"{turn}?")))
    assert len(forgotten) == 1
    assert 1 < forgotten[0] < 7
    # The last answer is to the most that fits.
    for start in range(8):
        turns = [text for n in range(start, 7) for text in (f"{n}?", answers[n])]
        try:
            assert answers[7] == answer_to(narrow, 7, *turns, "7?")
        except UserError:
            continue
        assert 0 < start < 7
        return
    pytest.fail("nothing fits")


def test_a_prompt_that_never_fits_is_refused_and_changes_nothing(narrow):
    dialogue = Dialogue(narrow, SAMPLING, "Be fair.")
    first = "".join(dialogue.ask("你好"))
    with pytest.raises(UserError, match="don't fit the model's context of 160"):
        list(dialogue.ask("! " * 200))
    assert "".join(dialogue.ask("Why?")) == answer_to(narrow, 2, "你好", first, "Why?")
