"""A long line of one thing, which the internet has, takes a step no longer than prose does."""

from collections import Counter

import pytest

from vcjax.data.corpus.document import Document
from vcjax.data.corpus.language import Language
from vcjax.data.corpus.lines import Lines
from vcjax.data.corpus.normalise import Normalise, NormaliseSettings, normalise
from vcjax.data.corpus.personal import Personal
from vcjax.data.corpus.quality import Quality
from vcjax.data.corpus.sensitive import Sensitive

# Where a pattern starts anew at each character, these would take minutes, and the test would hang.
LENGTH = 500_000
PIECES = ["a", " ", "(", "- ", ".", "a@", "1.", "2001:", "x" * 900 + " ", "Ã©", "锛"]


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece[:4])
def test_a_long_line_of_one_thing_passes_all_steps(piece):
    text = piece * (LENGTH // len(piece))
    for step in (Normalise, Personal, Language, Lines, Quality, Sensitive):
        document = Document(text=text, id="d", source="s", file="f", line=1, lang="en")
        assert step(step.Settings()).apply(document, Counter())
    normalise(text, NormaliseSettings(collapse_spaces=False))
