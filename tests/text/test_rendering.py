"""Conversations as ids and loss mask: the goldens of published templates, prompts, and markers."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chats import (
    MULTI,
    SINGLE,
    SMOLLM2,
    SMOLLM2_MARKED,
    bracketed,
    prompt,
    sample,
    trained,
    turns,
)
from vcjax.text.rendering import Rendered
from vcjax.text.templates import CHATML, LLAMA3, ChatTemplate

LLAMA3_SINGLE = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello, how are you?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[Fine.<|eot_id|>]"
)
LLAMA3_MULTI = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n人人平等。<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n你好<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[很好，谢谢。<|eot_id|>]"
    "<|start_header_id|>user<|end_header_id|>\n\nHello 😀<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[ free\n<|eot_id|>]"
)
CHATML_SINGLE = (
    "<|im_start|>user\nHello, how are you?<|im_end|>\n<|im_start|>assistant\n[Fine.<|im_end|>]\n"
)
CHATML_MULTI = (
    "<|im_start|>system\n人人平等。<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n"
    "<|im_start|>assistant\n[很好，谢谢。<|im_end|>]\n<|im_start|>user\nHello 😀<|im_end|>\n"
    "<|im_start|>assistant\n[ free\n<|im_end|>]\n"
)


def unmarked(golden: str) -> str:
    return re.sub(r"[\[\]]", "", golden)


@pytest.mark.parametrize(
    ("family", "messages", "golden"),
    [
        ("llama3", SINGLE, LLAMA3_SINGLE),
        ("llama3", MULTI, LLAMA3_MULTI),
        ("chatml", SINGLE, CHATML_SINGLE),
        ("chatml", MULTI, CHATML_MULTI),
    ],
)
def test_goldens(family, messages, golden, request):
    tokenizer = request.getfixturevalue(family)
    rendered = sample(tokenizer, messages)
    assert bracketed(tokenizer, rendered) == golden
    assert list(rendered.ids) == tokenizer.encode(unmarked(golden), special=True)


def test_the_ids_of_a_golden_token_by_token(llama3):
    header = [llama3.special_tokens["<|start_header_id|>"]]
    after = [llama3.special_tokens["<|end_header_id|>"], *llama3.encode("\n\n")]
    eot = [llama3.special_tokens["<|eot_id|>"]]
    context = [llama3.bos_id, *header, *llama3.encode("user"), *after, *llama3.encode("free"), *eot]
    context += [*header, *llama3.encode("assistant"), *after]
    answer = [*llama3.encode("平等"), *eot]
    assert sample(llama3, turns("free", "平等")) == Rendered(
        tuple(context + answer), (False,) * len(context) + (True,) * len(answer)
    )


@pytest.mark.parametrize("template", [LLAMA3, CHATML])
def test_bos_comes_once_whoever_adds_it(llama3, template):
    rendered = sample(llama3, MULTI, template)
    assert rendered.ids[0] == llama3.bos_id
    assert rendered.ids.count(llama3.bos_id) == 1
    assert rendered.loss_mask[0] is False


def test_a_generation_prompt_ends_with_the_header(llama3):
    header = llama3.encode("<|start_header_id|>assistant<|end_header_id|>\n\n", special=True)
    assert list(prompt(llama3, [*MULTI, *turns("free")])[-len(header) :]) == header


@pytest.mark.parametrize("content", ["Fine.", "\n\nFine.", " free"])
def test_a_prompt_is_a_prefix_of_the_conversation_that_answers_it(llama3, chatml, content):
    for tokenizer in (llama3, chatml):
        asked = prompt(tokenizer, turns("你好"))
        whole = sample(tokenizer, turns("你好", content))
        assert whole.ids[: len(asked)] == asked
        assert whole.loss_mask.index(True) == len(asked)


@pytest.mark.parametrize("messages", [SINGLE, MULTI, turns("a", "\nb", "c", "m|>", "d")])
def test_prefix_differencing_gives_what_markers_give(chatml, messages):
    differenced, marked = (sample(chatml, messages, each) for each in (SMOLLM2, SMOLLM2_MARKED))
    assert differenced == marked
    assert any(marked.loss_mask)


def test_the_inserted_system_prompt_is_context(chatml):
    rendered = sample(chatml, SINGLE, SMOLLM2)
    golden = "<|im_start|>system\nYou help.<|im_end|>\n" + CHATML_SINGLE
    assert bracketed(chatml, rendered) == golden


@pytest.mark.parametrize("messages", [SINGLE, MULTI])
def test_built_in_templates_without_their_markers_give_the_same(chatml, llama3, messages):
    for tokenizer, template in ((llama3, LLAMA3), (chatml, CHATML)):
        without = re.sub(r"\{%- (end)?generation -%\}", "", template)
        assert without != template
        assert sample(tokenizer, messages, without) == (sample(tokenizer, messages, template))


def test_an_end_of_turn_token_outside_a_marker_is_taken_in(chatml):
    template = SMOLLM2_MARKED.replace(
        "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
        "{% generation %}{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>' }}",
    )
    assert template != SMOLLM2_MARKED
    assert sample(chatml, MULTI, template) == sample(chatml, MULTI, SMOLLM2_MARKED)


def test_markers_in_a_macro_mask_what_they_enclose(chatml):
    template = (
        "{% macro turn(m) %}{{ '<|im_start|>' + m['role'] + '\n' }}{% generation %}"
        "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% endmacro %}"
        "{% for m in messages if m['role'] == 'assistant' %}{{ turn(m) }}{% endfor %}"
    )
    header = "<|im_start|>assistant\n"
    assert bracketed(chatml, sample(chatml, MULTI, template)) == (
        f"{header}[很好，谢谢。<|im_end|>]\n{header}[ free\n<|im_end|>]\n"
    )


def test_markers_that_cut_through_an_answer_are_not_used(chatml):
    template = SMOLLM2_MARKED.replace(
        "{{ message['content'] + '<|im_end|>' }}{% endgeneration %}",
        "{{ message['content'][:2] }}{% endgeneration %}"
        "{{ message['content'][2:] + '<|im_end|>' }}",
    )
    assert template != SMOLLM2_MARKED
    assert sample(chatml, MULTI, template) == sample(chatml, MULTI, SMOLLM2)


def test_a_rendering_does_not_depend_on_the_day(chatml):
    rendered = sample(chatml, SINGLE, "{{ strftime_now('%d %b %Y') }}" + CHATML)
    assert bracketed(chatml, rendered) == "26 Jul 2024" + CHATML_SINGLE


def test_threads_render_side_by_side(chatml):
    def render(number: int) -> tuple[int, ...]:
        asked = turns(*(f"{turn}? " * number for turn in range(1 + number)))
        return prompt(chatml, asked, CHATML)

    alone = [render(number) for number in range(1, 9)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # often enough for threads to meet within a template
    try:
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(render, [*range(1, 9)] * 20)) == alone * 20
    finally:
        sys.setswitchinterval(interval)


def test_a_prompt_is_rendered_once_however_many_turns_it_has(chatml, monkeypatch):
    rendered, render = [], ChatTemplate.render

    def counted(*args):
        rendered.append(args)
        return render(*args)

    monkeypatch.setattr(ChatTemplate, "render", counted)
    asked = prompt(chatml, turns(*(f"{n}?" for n in range(1001))), SMOLLM2)
    assert len(rendered) == 1
    assert asked.count(chatml.special_tokens["<|im_start|>"]) == 1 + 1001 + 1


def test_a_template_sees_its_options(chatml):
    template = (
        CHATML + "{% if add_generation_prompt and not thinking %}{{ '<think></think>' }}{% endif %}"
    )
    tokenizer = chatml.with_template(template)
    without = tokenizer.with_settings({"thinking": True}, "template")
    assert chatml.decode(prompt(tokenizer, SINGLE)).endswith("<think></think>")
    assert prompt(without, SINGLE) == prompt(chatml, SINGLE, CHATML)


def test_a_conversation_may_begin_with_the_assistant(chatml):
    begun = [{"role": "assistant", "content": "Hi"}, *turns("a", "b")]
    assert trained(chatml, sample(chatml, begun, SMOLLM2)) == "Hi<|im_end|>b<|im_end|>"
