"""Chat rendering against transformers and Mistral's own package, on published templates.

`python -m tests.parity.artefacts` downloads the tokenizers and templates.
"""

from datetime import datetime
from functools import cache
from pathlib import Path

import jinja2
import pytest
from transformers.utils import chat_template_utils

from tests.chats import bracketed, samples, trained
from tests.parity import golden_chats
from tests.parity.artefacts import artefacts
from tests.parity.conversations import CONVERSATIONS, INJECTED, REASONED, WHITE, talk
from vcjax.core.files import read_json
from vcjax.text.rendering import render_last_turn, render_prompt, render_samples
from vcjax.text.tokenizer import Tokenizer, load_tokenizer
from vcjax.weights.load import open_located
from vcjax.weights.resolve import resolve

ALL = {**CONVERSATIONS, "white": WHITE, "reasoned": REASONED, "injected": INJECTED}
GOLDEN = {
    "llama3": golden_chats.LLAMA3,
    "llama3_1": golden_chats.LLAMA3_1,
    "llama3_2": golden_chats.LLAMA3_2,
    "qwen2_5": golden_chats.QWEN2_5,
    "qwen3": golden_chats.QWEN3,
    "qwen3_without_thinking": golden_chats.QWEN3_WITHOUT_THINKING,
    "smollm2": golden_chats.SMOLLM2,
    "mistral_nemo": golden_chats.MISTRAL_NEMO,
}
FAMILIES = sorted(GOLDEN)


@pytest.fixture(autouse=True)
def same_day(monkeypatch):
    """transformers prints today's date in a template; ours is always this one."""

    class Fixed(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 7, 26, tzinfo=tz)

    monkeypatch.setattr(chat_template_utils, "datetime", Fixed)


@cache
def family(name: str) -> Tokenizer:
    if name == "smollm2":
        tokenizer = open_located(resolve("smollm2-135m-instruct")).tokenizer
        assert tokenizer is not None
        return tokenizer
    if name == "qwen3_without_thinking":
        return family("qwen3").with_settings({"enable_thinking": False}, "template")
    # Both have their successor's tokenizer, but for tokens that their templates don't write.
    for own, other in (("llama3_2", "llama3_1"), ("qwen2_5", "qwen3")):
        if name == own:
            return family(other).with_template(published(own))
    if name == "mistral_v3":
        # Its tokenizer comes without a template, so this one is ours.
        template = Path(__file__).with_name("mistral_v3.jinja").read_text(encoding="utf-8")
        return load_tokenizer(artefacts() / name).with_template(template)
    return load_tokenizer(artefacts() / name)


def published(name: str) -> str:
    return (artefacts() / "trl" / f"{name}.jinja").read_text(encoding="utf-8")


def theirs(tokenizer: Tokenizer, messages, *, prompt: bool, tokenize: bool = True):
    return tokenizer.backend.apply_chat_template(
        messages,
        add_generation_prompt=prompt,
        tokenize=tokenize,
        return_dict=False,
        **tokenizer.template_options,
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("title", [title for title in ALL if title != "injected"])
def test_what_asks_for_an_answer_has_the_ids_of_transformers(name, title):
    tokenizer, messages = family(name), ALL[title]
    for count in range(1, len(messages) + 1):
        if messages[count - 1]["role"] == "user":
            ours = render_prompt(tokenizer, messages[:count])
            assert list(ours) == theirs(tokenizer, messages[:count], prompt=True)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("title", CONVERSATIONS)
def test_an_answered_conversation_has_the_ids_of_transformers(name, title):
    """Where a template puts what was asked with before the answer; else it follows what asks."""
    tokenizer, messages = family(name), CONVERSATIONS[title]
    for count in range(2, len(messages) + 1):
        if messages[count - 1]["role"] != "assistant":
            continue
        ours = list(render_last_turn(tokenizer, messages[:count]).ids)
        asked = theirs(tokenizer, messages[: count - 1], prompt=True)
        whole = theirs(tokenizer, messages[:count], prompt=False)
        assert ours[: len(asked)] == asked
        if name == "mistral_nemo" and title == "system":
            assert whole[: len(asked)] != asked
            said = tokenizer.encode(messages[count - 1]["content"])
            assert ours[len(asked) :] == [*said, tokenizer.eos_id]
        else:
            assert ours == whole


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("title", golden_chats.QWEN3)
def test_what_is_trained_is_what_a_person_wrote_down(name, title):
    tokenizer = family(name)
    shown = [bracketed(tokenizer, each, "⟦⟧") for each in render_samples(tokenizer, ALL[title])]
    assert shown == GOLDEN[name][title]
    last = render_last_turn(tokenizer, ALL[title])
    assert bracketed(tokenizer, last, "⟦⟧").rpartition("⟦")[2] == shown[-1].rpartition("⟦")[2]
    special = tokenizer.special_tokens
    written = [id for id in last.ids if id in special.values()]
    assert len(written) == _control_tokens(name, title), "control tokens come from the template"


def _control_tokens(name: str, title: str) -> int:
    """How many the last sample has, of the tokenizer's special ones."""
    system = ALL[title][0]["role"] == "system"
    turns = len(ALL[title])
    if name == "mistral_nemo":  # [INST] and [/INST] of a question, </s> of an answer; <s>
        return 1 + (turns - system) // 2 * 3
    if name.startswith("llama"):  # three a message; what asks for another answer; BOS
        invented = name == "llama3_2" and not system
        return 1 + 3 * (turns + invented) + (2 if name == "llama3" else 0)
    invented = name in ("qwen2_5", "smollm2") and not system
    return 2 * (turns + invented)


@pytest.mark.parametrize("name", ["mistral_nemo", "mistral_v3"])
def test_mistral_s_ids_are_those_of_its_own_package(name):
    tokenizer = family(name)
    recorded = read_json(artefacts() / "mistral.json")["ids"][name]
    assert len(recorded) == sum(
        message["role"] != "system" for each in CONVERSATIONS.values() for message in each
    )
    for key, ids in recorded.items():
        title, _, count = key.rpartition("/")
        messages = CONVERSATIONS[title][: int(count)]
        if messages[-1]["role"] == "user":
            assert list(render_prompt(tokenizer, messages)) == ids, key
        else:
            assert list(render_last_turn(tokenizer, messages).ids) == ids, key


PUBLISHED = sorted(path.stem for path in (artefacts() / "trl").glob("*.jinja"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_published_template_is_refused_by_us(name):
    """On texts, with a tokenizer that isn't theirs: each answer is trained on once, after exactly
    what asks for it, or the template itself refuses."""
    tokenizer = family("qwen3").with_template(published(name))
    messages = CONVERSATIONS["plain"]
    asked = []
    for count in (1, 3, 5):
        try:
            asked.append(theirs(tokenizer, messages[:count], prompt=True, tokenize=False))
        except (jinja2.TemplateError, TypeError) as error:
            pytest.skip(f"it refuses questions that are plain text: {error}")
        if messages[0]["content"] not in asked[-1]:
            pytest.skip("it leaves out questions that are plain text: it is for parts of contents")
        shown = tokenizer.decode(render_prompt(tokenizer, messages[:count]), skip_special=False)
        assert shown == asked[-1]
    rendered = samples(tokenizer, messages)
    said = "".join(trained(tokenizer, each) for each in rendered)
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    assert [said.count(answer) for answer in answers] == [1, 1, 1]
    for each in rendered:
        text = bracketed(tokenizer, each, "⟦⟧")
        before = text.partition("⟦")[0]
        if "{% generation" not in published(name) and "{%- generation" not in published(name):
            assert before in asked
    for question in ("Hello", "Bye!"):
        assert question not in said


def test_a_system_message_that_a_template_refuses_can_be_a_part_of_the_question():
    refusing = family("qwen3").with_template(published("gemma"))
    folded = refusing.with_settings({}, "first_user")
    together = talk(
        "Be fair. 公平。\n\n为什么？", *(m["content"] for m in CONVERSATIONS["system"][2:])
    )
    assert render_samples(folded, CONVERSATIONS["system"]) == render_samples(refusing, together)
