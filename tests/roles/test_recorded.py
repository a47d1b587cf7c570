"""A role whose replies were recorded before."""

import json

import pytest

from vcjax.core.errors import UserError
from vcjax.roles.recorded import RecordedRole
from vcjax.roles.role import Ask, LikelihoodAsk, Reply

ASKED = ({"role": "user", "content": "Why?"},)


def lines(path, *records):
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def test_a_recorded_role_answers_by_key(tmp_path):
    path = lines(
        tmp_path / "transcript.jsonl",
        {"key": "a", "text": "One."},
        {"key": "b", "text": "Tw", "finish_reason": "length"},
    )
    role, received = RecordedRole(path, family="llama3"), []
    replies = role.ask([Ask(key, ASKED, 5) for key in "ba"], lambda *each: received.append(each))
    assert [(reply.text, reply.finish_reason) for reply in replies] == [
        ("Tw", "length"),
        ("One.", "stop"),
    ]
    assert received == list(enumerate(replies))
    assert (role.family, role.model) == ("llama3", "recorded:transcript.jsonl")


def test_a_transcript_may_say_how_an_ask_ended_and_what_it_cost(tmp_path):
    path = lines(
        tmp_path / "transcript.jsonl",
        {"key": "a", "outcome": "timeout", "detail": "after 9 s", "seconds": 9},
        {"key": "b", "text": "One.\ud800", "tokens": 3, "prompt_tokens": 7, "cost": 0.5},
    )
    timeout, one = RecordedRole(path).ask([Ask("a", ASKED, 5), Ask("b", ASKED, 5)])
    assert timeout == Reply.failed("timeout", "after 9 s")
    assert (timeout.text, timeout.finish_reason, timeout.seconds) == ("", "timeout", 9)
    assert one == Reply("One.?", "stop", 7, 3, cost=0.5)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"key": "a", "text": "Again."}, ":2: the key 'a' comes twice"),
        ({"key": "b"}, ":2: a recorded reply needs `key` and `text`"),
        ({"key": ["b"], "text": "So."}, ":2: key: "),
        ([1], ":2: a recorded reply needs `key` and `text`"),
        ({"key": "b", "outcome": "ok"}, ":2: a recorded reply needs `key` and `text`"),
        ({"key": "b", "text": 5}, ":2: text: should be a valid string, but it is 5"),
        (
            {"key": "b", "text": "", "finish_reason": 1},
            ":2: finish_reason: should be a valid",
        ),
        (
            {"key": "b", "text": "", "tokens": 1.5},
            ":2: tokens: should be a valid integer",
        ),
        (
            {"key": "b", "text": "", "cost": True},
            ":2: cost: should be a valid number",
        ),
    ],
)
def test_a_bad_transcript_is_refused_with_its_line(tmp_path, second, message):
    path = lines(tmp_path / "transcript.jsonl", {"key": "a", "text": "One."}, second)
    with pytest.raises(UserError) as caught:
        RecordedRole(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_a_key_that_was_never_recorded_is_an_error_before_any_reply(tmp_path):
    role, received = (
        RecordedRole(lines(tmp_path / "transcript.jsonl", {"key": "a", "text": "One."})),
        [],
    )
    with pytest.raises(UserError, match=r"transcript\.jsonl: no reply recorded for 'b'"):
        role.ask([Ask("a", ASKED, 5), Ask("b", ASKED, 5)], lambda *each: received.append(each))
    assert received == []


def test_recorded_log_likelihoods_are_found_by_key_or_by_messages(tmp_path):
    path = lines(
        tmp_path / "scores.jsonl",
        {"key": "a", "answers": ["Yes.", "No."], "logprobs": [-1.5, -2]},
        {"messages": list(ASKED), "answers": ["No.", "Yes.", "So."], "logprobs": [-3, -4.5, -9]},
        {"key": "a", "text": "A reply may have the same key."},
    )
    role, received = RecordedRole(path), {}
    asks = [
        LikelihoodAsk("a", ASKED, ("No.", "Yes.")),
        LikelihoodAsk("b", ASKED, ("Yes.", "No.")),
    ]
    assert role.log_likelihoods(asks, received.__setitem__) == [(-2.0, -1.5), (-4.5, -3.0)]
    assert received == {0: (-2.0, -1.5), 1: (-4.5, -3.0)}
    assert role.ask([Ask("a", ASKED, 5)])[0].text == "A reply may have the same key."


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (LikelihoodAsk("b", ASKED, ("Yes.",)), "no log-likelihoods recorded for 'b'"),
        (LikelihoodAsk("a", ASKED, ("So.",)), "no log-likelihood recorded for the answer 'So.'"),
    ],
)
def test_what_was_not_scored_is_an_error_before_any_score(tmp_path, ask, message):
    path = lines(tmp_path / "s.jsonl", {"key": "a", "answers": ["Yes."], "logprobs": [-1.0]})
    received = []
    with pytest.raises(UserError, match=rf"s\.jsonl: {message}"):
        RecordedRole(path).log_likelihoods(
            [LikelihoodAsk("a", ASKED, ("Yes.",)), ask], lambda *each: received.append(each)
        )
    assert received == []


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"key": "a"}, 'the log-likelihoods of "a" come twice'),
        ({"key": "b", "logprobs": [-1.0, -2.0]}, "not one logprob for each of different answers"),
        ({"answers": ["So."]}, "need either `key` or `messages`"),
        ({"key": "b", "messages": list(ASKED)}, "need either `key` or `messages`"),
        ({"key": "b", "logprobs": [0.5]}, "logprobs"),
        ({"key": "b", "logprobs": [float("nan")]}, "logprobs"),
        ({"key": "b", "answers": "So."}, "answers: should be a valid list"),
    ],
)
def test_bad_log_likelihoods_are_refused_with_their_line(tmp_path, second, message):
    first = {"key": "a", "answers": ["Yes."], "logprobs": [-1.0]}
    rest = {name: first[name] for name in ("answers", "logprobs")}
    path = lines(tmp_path / "scores.jsonl", first, rest | second)
    with pytest.raises(UserError) as caught:
        RecordedRole(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert message in str(caught.value)
