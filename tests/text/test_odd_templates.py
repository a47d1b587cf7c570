"""Templates that forget, change, trim or move content: what is trained is what they ask for."""

import pytest

from tests.chats import MULTI, SINGLE, SMOLLM2, bracketed, prompt, sample, samples, trained, turns
from vcjax.core.errors import UserError
from vcjax.text.rendering import render_last_turn

# Drops the content of assistant turns before the last message, as reasoning templates do.
FORGETFUL = SMOLLM2.replace(
    "+ message['content'] +",
    "+ (message['content'] if loop.last or message['role'] != 'assistant' else '') +",
)


def test_a_template_that_forgets_earlier_turns_has_a_sample_for_each(chatml):
    first, second = samples(chatml, MULTI, FORGETFUL)
    head = "<|im_start|>system\n人人平等。<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n"
    assert bracketed(chatml, first) == head + "<|im_start|>assistant\n[很好，谢谢。<|im_end|>]\n"
    assert bracketed(chatml, second) == (
        head + "<|im_start|>assistant\n<|im_end|>\n<|im_start|>user\nHello 😀<|im_end|>\n"
        "<|im_start|>assistant\n[ free\n<|im_end|>]\n"
    )
    assert render_last_turn(chatml.with_template(FORGETFUL), MULTI) == second


def test_a_turn_is_trained_after_what_asks_for_it_where_it_is_rendered_otherwise(chatml):
    template = SMOLLM2.replace("{{ '<|im_start|>assistant\n' }}", "{{ 'Answer: ' }}")
    rendered = sample(chatml, SINGLE, template)
    asked = prompt(chatml, SINGLE[:1], template)
    assert rendered.ids[: len(asked)] == asked
    assert bracketed(chatml, rendered).endswith("<|im_end|>\nAnswer: [Fine.<|im_end|>]")


def test_a_template_that_changes_content_is_trained_as_it_renders_it(chatml):
    template = SMOLLM2.replace("+ message['content'] +", "+ message['content'] | upper +")
    rendered = sample(chatml, SINGLE, template)
    assert bracketed(chatml, rendered).endswith("<|im_start|>assistant\n[FINE.<|im_end|>]\n")


def test_a_template_that_leaves_answers_out_is_refused(chatml):
    template = SMOLLM2.replace("+ message['content'] +", "+ 'nothing' +")
    with pytest.raises(UserError, match=r"does not render messages\[1\]\.content"):
        samples(chatml, SINGLE, template)


def test_a_template_that_trims_content_is_masked_exactly(chatml):
    template = SMOLLM2.replace("+ message['content'] +", "+ message['content'] | trim +")
    rendered = sample(chatml, turns("a", " b \n"), template)
    assert bracketed(chatml, rendered).endswith("<|im_start|>assistant\n[b<|im_end|>]\n")


def test_white_space_that_alone_ends_a_turn_is_trained(chatml):
    template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    rendered = sample(chatml, turns("a", "b"), template)
    assert bracketed(chatml, rendered) == "user: a\nassistant: [b\n]"


def test_what_a_template_refuses_is_quoted_in_one_line(chatml):
    refusing = "{{ raise_exception('roles must\nalternate') }}"
    for render in (samples, prompt):
        with pytest.raises(UserError, match=r"fails on \(user, assistant\): roles must alternate$"):
            render(chatml, SINGLE, refusing)
    with pytest.raises(UserError, match=r"alternate; if it has no system role.*#system=first_user"):
        prompt(chatml, MULTI, refusing)
    for broken, problem in (("{% if %}", "not a Jinja template"), ("{{ 1 // 0 }}", "it fails on")):
        with pytest.raises(UserError, match=f"chat template: {problem}"):
            prompt(chatml, SINGLE, broken)


NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_a_system_message_goes_into_the_first_question_if_it_is_told_to(chatml):
    tokenizer = chatml.with_template(NO_SYSTEM)
    with pytest.raises(UserError, match="no system"):
        samples(tokenizer, MULTI)
    folded = tokenizer.with_settings({}, "first_user")
    together = turns("人人平等。\n\n你好", *(m["content"] for m in MULTI[2:]))
    assert samples(folded, MULTI) == samples(tokenizer, together)
    assert prompt(folded, MULTI[:2]) == prompt(tokenizer, together[:1])
    assert samples(folded, SINGLE) == samples(tokenizer, SINGLE)
    alone = [{"role": "system", "content": "Begin."}, *turns("", "a")[1:]]
    assert bracketed(chatml, sample(folded, alone)).startswith("<|im_start|>user\nBegin.<|im_end|>")


# Asks with the system message in the last question, and renders an answered one without it.
LATE_SYSTEM = (
    "{% set system = messages[0]['content'] + '\n' if messages[0]['role'] == 'system' else '' %}"
    "{% for m in messages if m['role'] != 'system' %}"
    "{{ '<|im_start|>' + (system if loop.last and m['role'] == 'user' else '') + m['content'] + "
    "'<|im_end|>' }}{% endfor %}"
)


def test_an_answer_follows_what_it_will_follow_where_the_system_message_moves(chatml):
    first, second = samples(chatml, MULTI, LATE_SYSTEM)
    start, end = "<|im_start|>", "<|im_end|>"
    assert bracketed(chatml, first) == f"{start}人人平等。\n你好{end}[很好，谢谢。{end}]"
    assert bracketed(chatml, second) == (
        f"{start}你好{end}{start}很好，谢谢。{end}{start}人人平等。\nHello 😀{end}[ free\n{end}]"
    )


def test_white_space_before_an_answer_is_its_own_where_what_asks_has_none(chatml):
    spaced = LATE_SYSTEM.replace("+ m['content']", "+ (' ' if loop.last else '') + m['content']")
    for content in ("a", "\n\na"):
        rendered = sample(chatml, turns("?", content, system="S"), spaced)
        assert trained(chatml, rendered) == f" {content}<|im_end|>"
        assert bracketed(chatml, rendered).startswith("<|im_start|>S\n ?<|im_end|>[ ")


def test_a_template_that_always_asks_for_an_answer_trains_no_header(chatml):
    always = SMOLLM2.replace("{% if add_generation_prompt %}", "{% if true %}")
    assert (
        trained(chatml, sample(chatml, MULTI, always)) == "很好，谢谢。<|im_end|> free\n<|im_end|>"
    )
    spoken = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{{ 'assistant: ' }}"
    )
    rendered = sample(chatml, turns("a", "b", "c", "d"), spoken)
    assert bracketed(chatml, rendered) == (
        "user: a\nassistant: [b\n]user: c\nassistant: [d\n]assistant: "
    )


# Drops reasoning, and asks for it: as DeepSeek's distilled models do.
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + "
    "m['content'].split('</think>')[-1].lstrip('\n') + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<think>\nwhy\n</think>\n\nSo.", "why\n</think>\n\nSo.<|im_end|>"),
        ("So.", "\n</think>\n\nSo.<|im_end|>"),
    ],
)
def test_where_reasoning_is_asked_for_it_is_trained_and_ended(chatml, content, said):
    rendered = sample(chatml, turns("a", content), THINKING)
    asked = prompt(chatml, turns("a"), THINKING)
    assert rendered.ids[: len(asked)] == asked
    assert trained(chatml, rendered) == said
