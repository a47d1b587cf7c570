"""`prompt_logprobs` of vLLM, through OpenAI's own client, as its users ask for them."""

import openai
import pytest

from vcjax.generate.likelihood import score_answers
from vcjax.generate.scoring import score
from vcjax.generate.text import encode_prompt

CHAT = [{"role": "system", "content": "Be fair."}, {"role": "user", "content": "你好 Why?"}]
OPEN = {"add_generation_prompt": False, "continue_final_message": True}


def own(position) -> tuple[int, dict]:
    """The prompt's own token at a position, which comes first."""
    token, entry = next(iter(position.items()))
    return int(token), entry


def check(given, ids, text_engine, count) -> None:
    """A list that a server returned, against the scores of the engine."""
    engine, tokenizer = text_engine.engine, text_engine.tokenizer
    (scored,) = score(engine.graph, engine.params, [(ids, 1)], top=3)
    assert len(given) == len(ids)
    assert given[0] is None
    for position, token, logprob, rank, top in zip(
        given[1:], ids[1:], scored.logprobs, scored.ranks, scored.top, strict=True
    ):
        first, entry = own(position)
        assert first == token
        assert entry["logprob"] == pytest.approx(logprob, abs=1e-4)
        assert entry["rank"] == rank
        assert entry["decoded_token"] == tokenizer.decode([token], skip_special=False)
        likeliest = {str(each) for each, _ in top[:count]}
        assert position.keys() == {str(token)} | likeliest
        best = {int(each): entry["rank"] for each, entry in position.items() if each in likeliest}
        assert sorted(best.values()) == list(range(1, count + 1))


@pytest.mark.parametrize("count", [0, 2])
def test_a_completion_has_those_of_its_prompt_in_each_choice(client, text_engine, count):
    texts = ["Grade the answer.", "一句话"]
    answer = client.completions.create(
        model="tiny", prompt=texts, max_tokens=1, n=2, extra_body={"prompt_logprobs": count}
    )
    assert len(answer.choices) == 4
    for choice in answer.choices:
        ids = encode_prompt(text_engine.tokenizer, texts[choice.index // 2])
        check(choice.model_extra["prompt_logprobs"], ids, text_engine, count)
    plain = client.completions.create(model="tiny", prompt=texts, max_tokens=1)
    assert "prompt_logprobs" not in plain.choices[0].model_extra


def test_an_answer_to_a_conversation_has_them_beside_its_choices(client, text_engine):
    body = {"prompt_logprobs": 1}
    answer = client.chat.completions.create(
        model="tiny", messages=CHAT, max_tokens=1, extra_body=body
    )
    ids = encode_prompt(text_engine.tokenizer, CHAT)
    check(answer.model_extra["prompt_logprobs"], ids, text_engine, 1)


def test_a_given_answer_to_a_conversation_scores_as_by_score_answers(client, text_engine):
    engine, tokenizer = text_engine.engine, text_engine.tokenizer
    texts = ["So it is.", "都有理由。", "No<|im_end|>"]
    (expected,) = score_answers(engine.graph, engine.params, tokenizer, [CHAT], [texts])
    for text, total in zip(texts, expected, strict=True):
        answer = client.chat.completions.create(
            model="tiny",
            messages=[*CHAT, {"role": "assistant", "content": text}],
            max_tokens=1,
            extra_body={"prompt_logprobs": 1, **OPEN},
        )
        size = len(tokenizer.encode(text))
        ends = [own(each)[1]["logprob"] for each in answer.model_extra["prompt_logprobs"][-size:]]
        assert sum(ends) == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize(
    ("messages", "body", "message"),
    [
        (CHAT, {"prompt_logprobs": -1}, "prompt_logprobs"),
        (CHAT, {"prompt_logprobs": 1, "stream": True}, "prompt_logprobs come without stream"),
        (CHAT, OPEN, "continue_final_message: the last message isn't the assistant's"),
        (CHAT, {"continue_final_message": True}, "add_generation_prompt: give false"),
        (CHAT, {"add_generation_prompt": False}, "add_generation_prompt: give false"),
    ],
)
def test_what_cannot_be_had_is_refused(client, messages, body, message):
    with pytest.raises(openai.BadRequestError, match=message):
        client.chat.completions.create(model="tiny", messages=messages, extra_body=body)
