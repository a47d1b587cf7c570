"""A long step in a log file and on a terminal."""

import io

import pytest

from vcjax.core import progress
from vcjax.core.progress import Progress, Tokens


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_once(monkeypatch) -> None:
    monkeypatch.setattr(progress, "LOG_PAUSE", 0.0)


def test_a_log_gets_whole_lines_that_say_what_how_far_and_how_long(at_once):
    log = io.StringIO()
    with Progress(total=4, desc="answers", unit="questions", file=log) as bar:
        bar.set_postfix({"loss": "1.5"}, refresh=False)
        for _ in range(4):
            bar.update()
    first, *_, last = log.getvalue().splitlines()
    assert first == "answers: 0 of 4 questions (0%), 00:00 so far"
    assert last == "answers: 4 of 4 questions (100%), 00:00 so far, 00:00 left, loss=1.5"
    assert "\r" not in log.getvalue()


def test_a_step_of_unknown_length_says_how_much_is_done(at_once):
    log = io.StringIO()
    with Progress(total=None, desc="documents", file=log) as bar:
        bar.update(3)
    assert log.getvalue().splitlines()[-1] == "documents: 3, 00:00 so far"


def test_a_step_that_is_over_soon_leaves_no_line_in_a_log():
    log = io.StringIO()
    with Progress(total=2, desc="answers", file=log) as bar:
        bar.update(2)
    assert log.getvalue() == ""


def test_a_log_gets_lines_while_nothing_moves(monkeypatch):
    monkeypatch.setattr(progress, "LOG_PAUSE", 0.01)
    log = io.StringIO()
    with Progress(total=2, desc="answers", file=log):
        while log.getvalue().count("\n") < 2:
            pass
    assert set(log.getvalue().splitlines()) == {"answers: 0 of 2 (0%), 00:00 so far"}


def test_before_an_answer_is_whole_its_tokens_are_counted(at_once, monkeypatch):
    tokens = Tokens()
    monkeypatch.setattr(progress, "TOKENS", tokens)
    log = io.StringIO()
    with Progress(total=2, desc="answers", file=log) as bar:
        tokens.asked, tokens.written = 1280, 640
        bar.refresh()
    line = "answers: 0 of 2 (0%), 00:00 so far, 640 of at most 1,280 tokens written"
    assert log.getvalue().splitlines()[-1] == line


def test_a_bar_shows_the_time_while_nothing_moves(monkeypatch):
    monkeypatch.setattr(progress, "_TICK", 0.01)
    terminal = Terminal()
    with Progress(total=2, desc="answers", file=terminal):
        while terminal.getvalue().count("\ranswers: ") < 3:
            pass


def test_a_terminal_gets_a_bar():
    terminal = Terminal()
    with Progress(total=2, desc="answers", file=terminal) as bar:
        bar.update(2)
    assert "\ranswers: 100%|" in terminal.getvalue()
