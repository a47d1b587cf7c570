"""A conversation: what the model is told of it, turn after turn."""

from contextlib import closing
from dataclasses import replace

import pytest

from vcjax.core.errors import UserError
from vcjax.core.seeds import derive_seed
from vcjax.generate.engine import Engine
from vcjax.generate.text import Sampling, TextEngine
from vcjax.serve.dialogue import Dialogue

SAMPLING = Sampling(12, temperature=1.0, min_tokens=4, seed=5)


@pytest.fixture(scope="module")
def narrow(tiny) -> TextEngine:
    """Of a context that holds three short exchanges."""
    bundle = replace(tiny, config=replace(tiny.config, max_position=160))
    return TextEngine(bundle, Engine(bundle.config, bundle.params, slots=1))


def said(text: TextEngine, seed: int, *contents: str) -> str:
    """The answer to a conversation after the system's `Be fair.`"""
    roles = ("user", "assistant") * len(contents)
    turns = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    messages = [{"role": "system", "content": "Be fair."}, *turns]
    sampling = replace(SAMPLING, seed=derive_seed(5, seed))
    return "".join(text.stream(messages, sampling))


def test_each_answer_is_to_all_that_was_said(text_engine):
    dialogue = Dialogue(text_engine, SAMPLING, "Be fair.")
    first = "".join(dialogue.ask("你好"))
    assert first == said(text_engine, 0, "你好")
    assert "".join(dialogue.ask("Why?")) == said(text_engine, 1, "你好", first, "Why?")
    dialogue.reset()
    assert "".join(dialogue.ask("你好")) == first


def test_an_answer_that_is_broken_off_counts_as_far_as_it_came(text_engine):
    dialogue = Dialogue(text_engine, SAMPLING, "Be fair.")
    with closing(dialogue.ask("你好")) as pieces:
        begun = next(pieces) + next(pieces)
    assert "".join(dialogue.ask("Why?")) == said(text_engine, 1, "你好", begun, "Why?")
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
            assert answers[7] == said(narrow, 7, *turns, "7?")
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
    assert "".join(dialogue.ask("Why?")) == said(narrow, 2, "你好", first, "Why?")
