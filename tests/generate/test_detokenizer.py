"""Incremental detokenisation: whole characters, and stop strings that span tokens."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.tiny import tiny_tokenizer
from vcjax.core.errors import UserError
from vcjax.generate.detokenizer import MAX_STOP_LENGTH, MAX_STOPS, Detokenizer

TOKENIZER = tiny_tokenizer()
TEXT = st.text(st.sampled_from("ab é公平😀\n"), max_size=20)
STOPS = st.lists(st.text(st.sampled_from("ab é公平😀"), min_size=1, max_size=3), max_size=3)


def run(text: str, stop=(), min_tokens: int = 0) -> tuple[list[str], Detokenizer]:
    """What is released token by token, up to the stop string if one comes."""
    decoder, pieces = Detokenizer(TOKENIZER, stop, min_tokens), []
    for token in TOKENIZER.encode(text):
        stopped = decoder.accept(token)
        pieces.append(decoder.take())
        if stopped:
            break
    pieces.append(decoder.finish())
    return pieces, decoder


@given(TEXT)
def test_pieces_add_up_to_the_text_and_never_end_within_a_character(text):
    pieces, decoder = run(text)
    assert "".join(pieces) == decoder.text == text
    assert not any("\ufffd" in piece for piece in pieces)


def cut(text: str, stop: list[str], start: int = 0) -> int | None:
    """Where a text ends, found a character at a time: before the first stop string to be complete
    after `start` characters, and of those complete at once the first of the list."""
    ends = range(start + 1, len(text) + 1)
    found = (end - len(one) for end in ends for one in stop if text[:end].endswith(one))
    return next(found, None)


@given(TEXT, STOPS)
@example("a平a", ["平", "a平a"])
def test_a_text_ends_before_the_stop_string_that_is_complete_first(text, stop):
    pieces, decoder = run(text, tuple(stop))
    end = cut(text, stop)
    assert "".join(pieces) == decoder.text == text[:end]
    assert decoder.stopped == (end is not None)


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        (("平", "a平a"), "a"),  # complete a character earlier
        (("a平a", "平"), "a"),
        (("平", "a平"), "a"),  # complete at once: the first of the list
        (("a平", "平"), ""),
    ],
)
def test_which_of_several_stop_strings_is_the_first(stop, left):
    pieces, decoder = run("a平a", stop)
    assert "".join(pieces) == decoder.text == left


def test_of_stop_strings_within_one_token_the_one_complete_first_counts():
    words = ((token, TOKENIZER.decode([token])) for token in range(300, TOKENIZER.vocab_size))
    token, word = next((t, w) for t, w in words if len(set(w)) == len(w) >= 3 and w.isascii())
    decoder = Detokenizer(TOKENIZER, (word, word[1]))
    assert decoder.accept(token)
    assert decoder.finish() == word[0]


@given(TEXT, STOPS, st.integers(0, 20))
@example("a平a", ["平"], 5)
def test_a_stop_string_that_is_complete_before_min_tokens_is_ordinary_text(text, stop, least):
    pieces, decoder = run(text, tuple(stop), least)
    early = TOKENIZER.decode(TOKENIZER.encode(text)[: max(0, least - 1)]).rstrip("\ufffd")
    end = cut(text, stop, len(early))
    assert "".join(pieces) == decoder.text == text[:end]
    assert decoder.stopped == (end is not None)


def test_a_possible_prefix_of_a_stop_string_is_withheld():
    decoder = Detokenizer(TOKENIZER, ("\n\nQ:",))
    released = []
    for token in TOKENIZER.encode("yes\n\nQ no"):
        decoder.accept(token)
        released.append(decoder.take())
    assert "".join(released) == "yes\n\nQ no"
    assert "\n\nQ" not in released  # it came only with what followed it


def test_bytes_that_never_become_a_character_are_shown_at_the_end():
    decoder = Detokenizer(TOKENIZER)
    decoder.accept(TOKENIZER.encode("😀")[0])
    assert decoder.take() == ""
    assert decoder.finish() == TOKENIZER.decode(TOKENIZER.encode("😀")[:1])
    text = decoder.text
    assert decoder.finish() == ""
    assert decoder.text == text


@pytest.mark.parametrize(
    ("stop", "message"),
    [(("",), "empty"), (("a",) * 17, "17 strings"), (("a" * 1001,), "1001 characters")],
)
def test_stop_strings_that_make_no_sense_are_refused(stop, message):
    with pytest.raises(UserError, match=message):
        Detokenizer(TOKENIZER, stop)


def bytes_alone() -> list[int]:
    """Tokens of single bytes that aren't characters."""
    parts = (TOKENIZER.encode(character) for character in "😀公é")
    return sorted(
        {token for ids in parts for token in ids if "\ufffd" in TOKENIZER.decode([token])}
    )


@given(st.lists(st.sampled_from([*bytes_alone(), *TOKENIZER.encode("a😀")]), max_size=80))
@example(TOKENIZER.encode("😀")[:1] * 17 + TOKENIZER.encode("😀")[1:])
def test_what_is_no_text_is_decoded_as_the_whole_is(tokens):
    decoder = Detokenizer(TOKENIZER)
    pieces = []
    for token in tokens:
        decoder.accept(token)
        pieces.append(decoder.take())
    assert "".join(pieces) + decoder.finish() == TOKENIZER.decode(tokens)


def test_a_token_costs_the_same_however_many_were_no_text(monkeypatch):
    decoder, lengths = Detokenizer(TOKENIZER), []
    decode = TOKENIZER.decode
    monkeypatch.setattr(TOKENIZER, "decode", lambda ids: lengths.append(len(ids)) or decode(ids))
    for _ in range(200):
        decoder.accept(bytes_alone()[-1])
    assert max(lengths) < 40
    assert len(decoder.take()) > 180


@given(st.text("ab", max_size=60), st.lists(st.text("ab", min_size=1, max_size=9), max_size=3))
@example("a" * 30, ["a" * 8 + "b"])
def test_what_is_withheld_is_the_longest_start_of_a_stop_string(text, stop):
    decoder = Detokenizer(TOKENIZER, stop, min_tokens=1000)
    released = ""
    for token in TOKENIZER.encode(text):
        decoder.accept(token)
        released += decoder.take()
        starts = (n for one in stop for n in range(1, len(one)) if decoder.text.endswith(one[:n]))
        assert len(decoder.text) - len(released) == max(starts, default=0)


class Counted(str):
    """A stop string that counts how often one of its characters is looked at."""

    looked_at = 0

    def __getitem__(self, index) -> str:
        Counted.looked_at += 1
        return super().__getitem__(index)


def fibonacci(length: int) -> str:
    """Where the search falls back most often: each prefix ends with many shorter ones."""
    before, text = "a", "ab"
    while len(text) < length:
        before, text = text, text + before
    return text[:length]


@pytest.mark.parametrize("start", ["a" * MAX_STOP_LENGTH, fibonacci(MAX_STOP_LENGTH)])
def test_the_longest_stop_strings_cost_a_few_comparisons_a_character(start):
    # Each begins as the text does and never ends as it goes on.
    stops = [Counted(start[: MAX_STOP_LENGTH - n - 1] + "!") for n in range(MAX_STOPS)]
    Counted.looked_at = 0
    decoders = [Detokenizer(TOKENIZER, stops) for _ in range(128)]  # as many as choices
    assert Counted.looked_at == 0
    decoder, seen = decoders[0], 0
    for token in TOKENIZER.encode((start + "b") * 3):
        assert not decoder.accept(token)
        seen = max(seen, len(decoder.take()))
    assert seen >= MAX_STOP_LENGTH // 2  # most of a stop string was withheld, then let go
    assert Counted.looked_at <= 6 * MAX_STOPS * len(decoder.text)
