"""The Attacker's prompts, and how the query is parsed from its output."""

import json

import pytest

from tests.questions import written
from vcjax.adversarial.attacks.prompts import (
    ON_TOPIC_SCHEMA,
    Turn,
    attacker_messages,
    follow_up_messages,
    on_topic_messages,
    read_query,
)
from vcjax.adversarial.attacks.queries import query_reject_reason
from vcjax.adversarial.attacks.style import SEVERITIES, shipped_attacks
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.roles.role import Reply

TOPIC = {"en": "old parks", "zh": "老公园"}
TURNS = [
    Turn("Is the old park worth it?", "For some it is.", 4),
    Turn("Is it worth the tax?", "It depends on the tax.", 2),
]


BENCHMARK = load_benchmark("universal").items


def test_every_benchmark_question_comes_through_whole_and_can_be_asked():
    """Questions that press as attacks are to press: 24 of them after their question mark."""
    assert len(BENCHMARK) == 364
    for item in BENCHMARK:
        text, unreadable = read_query(Reply(written(f" {item.question}\n"), "stop", 0, 0))
        assert (text, unreadable) == (item.question, None)
        reason = query_reject_reason(text, item.lang, shown=(), known={})
        assert (text, reason) == (item.question, None)


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ('{"query": "Why so', "length", "cut off"),
        ('{"query": "Why so?"}', "length", "cut off"),
        ("Why so?", "stop", "malformed"),
        ('{"query": 3}', "stop", "malformed"),
        ('{"query": "Why so?", "topic": "parks"}', "stop", "malformed"),
        ('{"query": "\\ud800?"}', "stop", "malformed"),
        ("", "stop", "malformed"),
    ],
)
def test_a_reply_that_is_not_the_json_asked_for_has_no_query(text, finish, reason):
    assert read_query(Reply(text, finish, 0, 0)) == ("", reason)


def test_the_lines_and_quotation_marks_of_a_query_are_its_own():
    query = 'She said "no".\n\n1. Say why?\n2. Just pick one.'
    assert read_query(Reply(written(query), "stop", 0, 0)) == (query, None)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", sorted(shipped_attacks()))
def test_the_attacker_sees_its_instruction_the_severity_examples_and_the_topic(name, lang):
    attack = shipped_attacks()[name]
    told = []
    for severity in SEVERITIES:
        messages = attacker_messages(attack, lang, TOPIC[lang], severity)
        shown = len(attack.examples[lang])
        assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * shown, "user"]
        assert attack.instruction[lang] in messages[0]["content"]
        assert attack.severity[lang][severity - 1] in messages[0]["content"]
        assert messages[-1]["content"].endswith(TOPIC[lang])
        told.append(messages[0]["content"])
        for example in attack.examples[lang]:
            fault = query_reject_reason(
                example.question,
                lang,
                shown=[message["content"] for message in messages],
                known={},
                mixed=attack.mixes_languages,
            )
            assert fault == "copies its prompt"
    assert len(set(told)) == len(SEVERITIES)


@pytest.mark.parametrize(
    ("name", "sees"),
    [
        ("opposing_framings", {"query"}),
        ("gradual_escalation", {"query", "answer"}),
        ("iterative_refinement", {"query", "answer", "score"}),
        ("tree_of_attacks", {"query", "answer", "score"}),
    ],
)
def test_a_follow_up_is_asked_with_the_turns_before_it(name, sees):
    attack = shipped_attacks()[name]
    messages = follow_up_messages(attack, "en", TOPIC["en"], 2, TURNS)
    assert attack.follow_up["en"] in messages[0]["content"]
    last = messages[-1]["content"]
    assert TOPIC["en"] in last
    for turn in TURNS:
        assert turn.query in last
        assert (turn.answer in last) == ("answer" in sees)
        assert (f"Score: {turn.score}" in last) == ("score" in sees)
    said = [json.loads(m["content"]) for m in messages if m["role"] == "assistant"]
    assert said == [{"query": example.then} for example in attack.examples["en"]]
    examples = [m["content"] for m in messages[1:-1] if m["role"] == "user"]
    for example, content in zip(attack.examples["en"], examples, strict=True):
        assert example.question in content
        assert (f"Score: {example.score}" in content) == ("score" in sees)


def test_a_long_answer_is_shown_clipped_and_a_missing_score_not_at_all():
    attack = shipped_attacks()["iterative_refinement"]
    turn = Turn("为什么？", "因为" * 1000)
    last = follow_up_messages(attack, "zh", TOPIC["zh"], 1, [turn])[-1]["content"]
    assert len(last) < 300
    assert last.endswith("…")
    assert "得分" not in last


def test_a_judge_of_relevance_sees_topic_and_query():
    attack = shipped_attacks()["tree_of_attacks"]
    system, user = on_topic_messages(attack, "zh", TOPIC["zh"], "老公园该拆吗？")
    assert system["content"].startswith(attack.on_topic["zh"])
    assert '{"on_topic": true}' in system["content"]
    assert user["content"] == "话题：老公园\n问题：老公园该拆吗？"
    assert ON_TOPIC_SCHEMA["required"] == ["on_topic"]
