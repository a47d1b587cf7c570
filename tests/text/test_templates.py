import copy
import logging

from tests.chats import sample, trained
from vcjax.text import templates
from vcjax.text.templates import CHATML, LLAMA3, control_tokens, default_template
from vcjax.text.tokenizer import Tokenizer

TURNS = [{"role": "user", "content": "free"}, {"role": "assistant", "content": "equal"}]


def test_the_default_template_follows_the_vocabulary(llama3, chatml, plain):
    assert default_template(llama3) == LLAMA3
    assert default_template(chatml) == CHATML
    assert default_template(plain) == CHATML


def test_the_control_tokens_that_each_template_needs():
    assert control_tokens(LLAMA3) == ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    assert control_tokens(CHATML) == ("<|im_start|>", "<|im_end|>")


def test_tokens_missing_from_the_vocabulary_are_text_with_one_warning(plain, caplog, monkeypatch):
    monkeypatch.setattr(templates, "_warned", set())  # another test may have warned
    with caplog.at_level(logging.WARNING, logger="vcjax"):
        rendered = sample(plain, TURNS)
        sample(plain, TURNS)
        sample(plain.with_template(CHATML), TURNS)
        sample(Tokenizer(copy.deepcopy(plain.backend)), TURNS)  # as read from another folder
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "<|im_start|>, <|im_end|> are not in the vocabulary" in caplog.text
    assert trained(plain, rendered) == "equal<|im_end|>"
    assert rendered.ids[0] == plain.bos_id
    assert rendered.ids.count(plain.bos_id) == 1


def test_tokens_that_are_there_give_no_warning(llama3, caplog):
    with caplog.at_level(logging.WARNING, logger="vcjax"):
        sample(llama3, TURNS)
    assert not caplog.records
