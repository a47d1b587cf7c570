"""Text from tokens as they come: whole characters, and stop strings wherever tokens part them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import tiny_tokenizer
from vcjax.foundation.errors import UserError
from vcjax.generate.decoder import Decoder

TOKENIZER = tiny_tokenizer()
TEXT = st.text(st.sampled_from("ab é公平😀\n"), max_size=20)


def run(text: str, stop=()) -> tuple[list[str], Decoder]:
    """What is released token by token, up to the stop string if one comes."""
    decoder, pieces = Decoder(TOKENIZER, stop), []
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


@given(TEXT, st.lists(st.text(st.sampled_from("ab é公平😀"), min_size=1, max_size=3), max_size=3))
def test_a_text_ends_before_its_first_stop_string(text, stop):
    pieces, decoder = run(text, tuple(stop))
    places = [text.index(one) for one in stop if one in text]
    expected = text[: min(places)] if places else text
    assert "".join(pieces) == decoder.text == expected
    assert decoder.stopped == bool(places)


def test_what_may_begin_a_stop_string_waits():
    decoder = Decoder(TOKENIZER, ("\n\nQ:",))
    released = []
    for token in TOKENIZER.encode("yes\n\nQ no"):
        decoder.accept(token)
        released.append(decoder.take())
    assert "".join(released) == "yes\n\nQ no"
    assert "\n\nQ" not in released  # it came only with what followed it


def test_bytes_that_never_become_a_character_are_shown_at_the_end():
    decoder = Decoder(TOKENIZER)
    decoder.accept(TOKENIZER.encode("😀")[0])
    assert decoder.take() == ""
    assert decoder.finish() == TOKENIZER.decode(TOKENIZER.encode("😀")[:1])
    text = decoder.text
    assert decoder.finish() == ""
    assert decoder.text == text


@pytest.mark.parametrize(("stop", "message"), [(("",), "empty"), (("a",) * 17, "17 strings")])
def test_stop_strings_that_make_no_sense_are_refused(stop, message):
    with pytest.raises(UserError, match=message):
        Decoder(TOKENIZER, stop)
