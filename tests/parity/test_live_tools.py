"""Tools in published templates: prompts against transformers, and calls as each template has them.

`python -m tests.parity.artefacts` downloads the tokenizers and templates.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.parity.test_live_chats import family, published, same_day
from tests.serve.test_tools import ARGUMENTS, QUESTION, TIME, TOOLS, Site, joined, whole
from tests.tiny import tiny_model
from vcjax.generate.constraints import Constraints
from vcjax.generate.requests import Event
from vcjax.generate.tool_grammar import tool_grammar
from vcjax.model.build import initialise
from vcjax.serve.calls import Calling
from vcjax.text.rendering import render_tool_prompt
from vcjax.text.tokenizer import Tokenizer
from vcjax.text.tool_calls import tool_syntax

__all__ = ["same_day"]  # a fixture

FAMILIES = ("llama3_1", "llama3_2", "qwen2_5", "qwen3", "mistral_nemo")
SCHEMAS = {
    "weather": ARGUMENTS,
    "time": {"type": "object", "properties": {}, "additionalProperties": False},
}
ULM = {"name": "weather", "arguments": {"place": "北京", "days": 2}}
CALL = {"id": "a1B2c3D4e", "type": "function", "function": ULM}
CALLED = [QUESTION, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
RESULT = [*CALLED, {"role": "tool", "tool_call_id": CALL["id"], "content": '"rain 下雨"'}]


def tokenizer_of(name: str) -> Tokenizer:
    # The package of Llama 3.1's tokenizer has a template without tools.
    return family(name).with_template(published(name)) if name == "llama3_1" else family(name)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("messages", [[QUESTION], RESULT], ids=["question", "result"])
def test_a_prompt_with_tools_is_that_of_transformers(name, messages):
    tokenizer = tokenizer_of(name)
    expected = tokenizer.backend.apply_chat_template(
        messages, tools=TOOLS, add_generation_prompt=True, return_dict=False
    )
    assert list(render_tool_prompt(tokenizer, messages, TOOLS)) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_a_call_as_the_template_has_it_is_what_may_be_written_and_is_read(name):
    tokenizer = tokenizer_of(name)
    syntax = tool_syntax(tokenizer)
    before = tokenizer.backend.apply_chat_template(
        [QUESTION], add_generation_prompt=True, tokenize=False
    )
    after = tokenizer.backend.apply_chat_template(CALLED, tokenize=False)
    text = after[len(before) :] if after.startswith(before) else after.partition("[/INST]")[2]
    text = text.removeprefix("<think>\n\n</think>\n\n")
    ids = tokenizer.encode(text, special=True)
    end = next(n for n, token in enumerate(ids) if token in ends(tokenizer))
    grammar = tool_grammar(tokenizer, syntax, SCHEMAS, several=True)
    constraint = Constraints(tokenizer, tokenizer.vocab_size, ends(tokenizer)).grammar(grammar)
    if syntax.is_list:  # the template adds an id, which a model needn't write
        cut = tokenizer.encode(text.partition(', "id"')[0] + "}]", special=True)
        ids, end = [*cut, ids[end]], len(cut)
    for token in ids[:end]:
        constraint.accept(token)
    mask = constraint.mask()
    assert any(mask[token >> 5] >> (token & 31) & 1 for token in ends(tokenizer))
    reader = Calling(syntax, tokenizer, frozenset(SCHEMAS), several=True).reader()
    events = [Event(0, token, 0.0, None) for token in ids[:end]]
    reader.feed(tokenizer.decode(ids[:end]), events)
    assert reader.reason("stop") == "stop" if not syntax.closing else "tool_calls"
    reader.finish()
    assert reader.reason("stop") == "tool_calls"


def ends(tokenizer: Tokenizer) -> tuple[int, ...]:
    names = ("<|eot_id|>", "<|im_end|>", "</s>")
    return tuple(
        tokenizer.special_tokens[name] for name in names if name in tokenizer.special_tokens
    )


@pytest.mark.parametrize("name", ["llama3_1", "qwen3", "mistral_nemo"])
def test_a_required_call_comes_through_openai_s_client(name, tiny_folder):
    tokenizer, tiny = tokenizer_of(name), tiny_model()
    config = replace(tiny.config, vocab_size=tokenizer.vocab_size)
    params = jax.tree.map(np.asarray, jax.jit(lambda: initialise(config, 7))())
    eos = {"eos_token_id": list(ends(tokenizer))}
    model = replace(tiny, config=config, params=params, tokenizer=tokenizer, generation_config=eos)
    site = Site(model, tiny_folder)
    try:
        given = {"tools": [*TOOLS[:1], TIME], "tool_choice": "required", "max_tokens": 120}
        given["parallel_tool_calls"] = False  # random weights may make calls without an end
        answer = whole(site.chat(tokenizer.chat_template or "", **given))
        assert answer["reason"] == "tool_calls"
        assert answer["content"] is None
        assert {called for called, _ in answer["calls"]} <= set(SCHEMAS)
        assert joined(site.chat(tokenizer.chat_template or "", **given, stream=True)) == answer
    finally:
        site.loaded.service.close(drain=False)
