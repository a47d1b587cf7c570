from dataclasses import replace

import pytest

from vcjax.core.errors import UserError
from vcjax.evaluation.answering import ANSWER_KEY, answer
from vcjax.roles.cache import CallCache


def ask(small, role, tmp_path, **changes):
    options = {"max_tokens": 64, "seed": 0, "chunk": 1, **changes}
    with CallCache(tmp_path / "answers.jsonl", ANSWER_KEY) as cache:
        return answer(small.items, role, cache=cache, **options)


@pytest.fixture
def listening(tmp_path, recorded, replies):
    return recorded(tmp_path / "model.jsonl", replies, "smollm2")


def test_answers_come_in_the_order_of_the_items(small, listening, tmp_path, replies):
    answers = ask(small, listening, tmp_path, chunk=5)
    assert [record["id"] for record in answers] == [item.id for item in small.items]
    assert all(record["answer"] == replies[f"{record['id']}/answer"] for record in answers)
    assert {record["model"] for record in answers} == {"recorded:model.jsonl"}


def test_a_benchmark_is_asked_greedily_with_a_seed_for_each_item(small, listening, tmp_path):
    ask(small, listening, tmp_path)
    assert {heard.temperature for heard in listening.heard} == {0.0}
    assert len({heard.seed for heard in listening.heard}) == len(small.items)
    assert all(len(heard.messages) == 1 for heard in listening.heard)


def test_a_system_prompt_is_that_of_its_item(small, listening, tmp_path):
    ask(small, listening, tmp_path, system_prompt=lambda item: f"{item.lang} {item.domain}")
    for item, heard in zip(small.items, listening.heard, strict=True):
        content = f"{item.lang} {item.domain}"
        assert heard.messages[0] == {"role": "system", "content": content}


def test_the_turns_before_a_question_are_asked_and_recorded(small, listening, tmp_path):
    turns = ({"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Hm."})
    items = (replace(small.items[0], conversation=turns), *small.items[1:])
    longer = replace(small, items=items)
    records = ask(longer, listening, tmp_path, system_prompt=lambda item: "Be kind.")
    asked = {"role": "user", "content": items[0].question}
    system = {"role": "system", "content": "Be kind."}
    assert listening.heard[0].messages == (system, *turns, asked)
    assert records[0]["conversation"] == [*turns]  # without the system message
    assert not any("conversation" in record for record in records[1:])


def test_what_was_answered_before_a_failure_is_not_asked_again(
    small, listening, tmp_path, recorded, replies
):
    keys = [f"{item.id}/answer" for item in small.items]
    first = {key: replies[key] for key in keys[:4]}
    with pytest.raises(UserError, match="no reply recorded"):
        ask(small, recorded(tmp_path / "model.jsonl", first, "smollm2"), tmp_path)
    rest = {key: replies[key] for key in keys[4:]}
    answers = ask(small, recorded(tmp_path / "model.jsonl", rest, "smollm2"), tmp_path)
    assert [record["answer"] for record in answers] == [replies[key] for key in keys]


def test_another_question_to_the_model_is_another_answer(small, listening, tmp_path):
    ask(small, listening, tmp_path)
    for change in ({"seed": 1}, {"max_tokens": 65}, {"system_prompt": lambda item: "a"}):
        listening.heard.clear()
        ask(small, listening, tmp_path, **change)
        assert len(listening.heard) == len(small.items)


def test_half_a_surrogate_pair_can_be_stored(small, tmp_path, recorded, replies):
    texts = replies | {f"{small.items[0].id}/answer": "\ud800 yes"}
    answers = ask(small, recorded(tmp_path / "model.jsonl", texts, "smollm2"), tmp_path)
    assert answers[0]["answer"] == "? yes"
