"""When a run evaluates, what it writes, and that neither a kill nor a mesh changes it; and that
sampled answers are those that the finished model would be served with."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vcjax.core.errors import UserError
from vcjax.core.files import read_json
from vcjax.generate.engine import Engine
from vcjax.generate.requests import SamplingParams
from vcjax.generate.text import TextEngine
from vcjax.model.build import initialise
from vcjax.model.lora import join_params, merge_lora, split_adapters
from vcjax.text.templates import CHATML
from vcjax.train.config import TrainConfig
from vcjax.train.evaluation import Evaluation, Samples, check_prompts
from vcjax.train.inputs import check_validation, write_model_files
from vcjax.train.logging import Log
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model

ROOT = Path(__file__).parents[2]
PROMPTS = ("Why?", "为什么？", "A shared record")
LORA = {"rank": 2, "targets": "q|down"}


@pytest.fixture
def changes(documents, model_folder, tmp_path) -> dict:
    """Of a config, so that all is measured; of a model whose answers don't only repeat."""
    loaded, model = load_model(str(model_folder), "float32"), tmp_path / "model"
    layers = jax.tree.map(lambda leaf: 20 * leaf, loaded.params["layers"])
    model.mkdir()
    write_model(model, replace(loaded, params={**loaded.params, "layers": layers}), form="hf")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("People\n历史\n", encoding="utf-8")
    data = {"data": str(documents), "every": 2, "prompts": str(prompts), "max_tokens": 6}
    return {"model": str(model), "validation": {**data, "patience": 1}}


def test_what_is_measured_with_belongs_to_the_lineage(settings, changes, tmp_path):
    def roles(**more) -> list[str]:
        config = TrainConfig.from_dict(settings(**{**changes, **more}))
        loaded = load_model(config.model, "float32")
        return [parent.role for parent in check_validation(config, loaded, tmp_path).parents]

    assert roles() == ["validation.data", "validation.prompts"]
    assert roles(validation={}) == []


def test_a_run_is_measured_at_its_start_every_few_steps_and_at_its_end(
    make_config, changes, tmp_path
):
    def due(**more) -> list[int]:
        config = make_config(**more)
        measuring = Evaluation(config, None, None, tmp_path, 0)
        return [step for step in range(config.steps + 1) if measuring.due(step)]

    assert due(steps=5, **changes) == [0, 2, 4, 5]
    assert due(steps=5) == []


def test_a_resumed_run_has_measured_what_the_kept_steps_have(make_config, changes, tmp_path):
    with Log(tmp_path, 0) as log:
        for step, loss in ((0, 3.0), (2, 2.0), (4, 2.5)):
            log.write_validation({"step": step, "loss": loss})
    config = make_config(**changes)
    resumed = [Evaluation(config, None, None, tmp_path, done) for done in (0, 3, 4)]
    assert [measuring.stopping.stopped for measuring in resumed] == [None, None, 4]
    assert resumed[0].summary() == {}
    assert resumed[1].summary()["validation"]["last_loss"] == 2.0
    assert resumed[2].summary() == {
        "validation": {"first_loss": 3.0, "last_loss": 2.5, "best_loss": 2.0, "best_step": 2},
        "stopped_early": 4,
    }


# --- answers to fixed prompts --------------------------------------------------------------------


@pytest.fixture
def loaded(model_folder):
    """The tiny model with layers that say more than the last token does: answers differ."""
    loaded = load_model(str(model_folder), "float32")
    layers = jax.tree.map(lambda leaf: 20 * leaf, loaded.params["layers"])
    return replace(loaded, params={**loaded.params, "layers": layers})


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(["", *PROMPTS, " "]), encoding="utf-8")
    return path


@pytest.fixture
def chat(make_config, conversations, prompts):
    """A config of a chat run, with changes."""
    data = {"stage": "sft", "documents": "", "conversations": str(conversations)}
    given = {"every": 1, "prompts": str(prompts), "max_tokens": 6}
    return lambda **changes: make_config(**data, validation=given, **changes)


def served(loaded, params, asked) -> list[str]:
    engine = Engine(loaded.config, params, slots=3)
    return TextEngine(loaded, engine).generate(asked, SamplingParams(max_tokens=6))


def as_questions(prompts) -> list:
    return [[{"role": "user", "content": prompt}] for prompt in prompts]


def test_a_chat_models_answers_are_those_it_will_be_served_with(chat, loaded, tmp_path):
    config = chat()
    write_model_files(tmp_path, loaded, chat=True)
    prompts = check_prompts(config, loaded)
    assert prompts == PROMPTS
    answers = Samples(prompts, config, loaded.config, tmp_path)
    trainable = jax.tree.map(jnp.asarray, loaded.params)
    found = answers.generate(trainable, {})
    assert found == served(loaded, loaded.params, as_questions(PROMPTS))
    assert len(set(found)) == len(PROMPTS)
    assert found == answers.generate(trainable, {})  # the first time has left the parameters alone


def test_a_model_ends_its_turns_where_the_template_ends_them_that_it_was_given(loaded, tmp_path):
    tokenizer = loaded.tokenizer
    end = tokenizer.special_tokens["<|im_end|>"]
    plain = replace(loaded, generation_config={"eos_token_id": 0})
    for number, (template, ends) in enumerate(((CHATML, [0, end]), ("{{ messages }}", [0]))):
        given = replace(plain, tokenizer=tokenizer.with_template(template))
        write_model_files(tmp_path / f"{number}", given, chat=True)
        written = read_json(tmp_path / f"{number}" / "model" / "generation_config.json")
        assert written["eos_token_id"] == ends


def test_a_model_of_documents_continues_the_text(make_config, loaded, tmp_path):
    config = make_config(validation={"max_tokens": 6})
    write_model_files(tmp_path, loaded, chat=False)
    found = Samples(PROMPTS, config, loaded.config, tmp_path).generate(loaded.params, {})
    assert found == served(loaded, loaded.params, list(PROMPTS))


def test_adapters_answer_merged_into_their_base(chat, loaded, tmp_path):
    config, rng = chat(lora=LORA), np.random.default_rng(0)
    write_model_files(tmp_path, loaded, chat=True)
    adapted = jax.eval_shape(lambda: initialise(loaded.config, 7, lora=config.adapters))
    adapters = jax.tree.map(
        lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), split_adapters(adapted)[0]
    )
    found = Samples(PROMPTS, config, loaded.config, tmp_path).generate(adapters, loaded.params)
    merged = merge_lora(join_params(adapters, loaded.params), config.adapters)
    assert found == served(loaded, merged, as_questions(PROMPTS))
    assert found != served(loaded, loaded.params, as_questions(PROMPTS))


def test_prompts_that_cannot_be_answered_are_refused(chat, loaded, prompts, monkeypatch):
    config = chat()

    def refused(match):
        with pytest.raises(UserError, match=match):
            check_prompts(config, loaded)

    prompts.write_text("Why?\n" + "x" * 60)
    refused(r"prompts.txt:2: a prompt of \d+ tokens and an answer of 6 don't fit the model's 64")
    prompts.write_text("\n \n")
    refused("config.validation.prompts: .*prompts.txt: no prompt in it")
    prompts.write_bytes(b"\xff")
    refused("not UTF-8")
    prompts.unlink()
    refused("config.validation.prompts: .*prompts.txt: no such file")
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    refused("config.validation.prompts: answers can't be sampled where several processes")
