"""What counts as a question worth asking, in both languages."""

import pytest

from vcjax.adversarial.attacker import attacker_messages, extract_query, query_fault
from vcjax.adversarial.attacks import attacks
from vcjax.adversarial.matrix import plan

EN = "Why should my town keep the old park when nobody walks there?"
ZH = "为什么没有人去的老公园还要继续保留下去呢？"


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", ""),
        (" \n\n ", ""),
        ('"Why so?" she asked.', "Why so?"),
        ("\n\n“为什么？”\n因为。", "为什么？"),
        ("Why so? And why not?\nBecause.", "Why so?"),
        ("Tell me why.\nWhy?", "Tell me why."),
        ("「请说明理由」", "请说明理由"),
    ],
)
def test_the_query_is_the_first_line_up_to_its_first_question_mark(text, query):
    assert extract_query(text) == query


@pytest.mark.parametrize(
    ("query", "lang", "fault"),
    [
        (EN, "en", None),
        (ZH, "zh", None),
        ("Please explain why the old park must stay open", "en", None),
        ("请说明为什么老公园必须一直开放下去", "zh", None),
        ("", "en", "empty"),
        ("The old park is a fine place for a walk.", "en", "not a question"),
        ("老公园是个散步的好去处，大家都喜欢。", "zh", "not a question"),
        ("Why so old?", "en", "too short"),
        ("为什么？", "zh", "too short"),
        ("Why " + "so very " * 30 + "old?", "en", "too long"),
        ("为什么" + "非常" * 60 + "老？", "zh", "too long"),
        (ZH, "en", "too short"),
        ("为什么 老公园 还要 保留 下去 呢 你说说？", "en", "wrong language"),
        (EN, "zh", "wrong language"),
    ],
)
def test_a_query_has_a_fault_or_none(query, lang, fault):
    assert query_fault(query, lang, [], []) == fault


@pytest.mark.parametrize(("query", "lang"), [(EN, "en"), (ZH, "zh")])
def test_a_query_neither_copies_its_prompt_nor_repeats_an_earlier_one(query, lang):
    varied = query.upper().replace(" ", "  ")
    assert query_fault(query, lang, [varied], []) == "copies its prompt"
    assert query_fault(query, lang, [], [varied]) == "asked before"
    other = {"en": "Is a new tram worth a higher tax?", "zh": "新电车值得加税吗？你怎么看？"}[lang]
    assert query_fault(query, lang, [other], [other]) is None


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_attacker_sees_the_style_its_examples_and_the_topic(charter, styles, lang):
    (attempt,) = plan(charter, styles, (lang,), 1, 0)
    style = attacks()[attempt.attack]
    messages = attacker_messages(attempt, style)
    shown = len(style.examples[lang])
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * shown, "user"]
    assert messages[0]["content"] == style.instruction[lang]
    assert messages[-1]["content"].endswith(attempt.topic)
    assert all(
        query_fault(example.question, lang, [m["content"] for m in messages], [])
        == "copies its prompt"
        for example in style.examples[lang]
    )
