"""`launch.chat` with a prompt, from a pipe and in a terminal."""

import os
import pty
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import started
from tests.scripts import ran
from vcjax.core.files import write_json
from vcjax.core.seeds import derive_seed
from vcjax.generate.requests import SamplingParams


def answer(text_engine, prompt: str, seed: int = 0, **settings) -> str:
    sampling = SamplingParams(9, seed=derive_seed(seed, 0), **settings)
    return "".join(text_engine.stream([{"role": "user", "content": prompt}], sampling))


def test_a_prompt_is_answered_once_with_the_settings_given(tiny_folder, script_cache, text_engine):
    settings = {"temperature": 1.0, "top_k": 40, "min_p": 0.01, "repetition_penalty": 1.2}
    texts = (answer(text_engine, "Why?", seed, **settings) for seed in range(99))
    seed, text = next((n, text) for n, text in enumerate(texts) if len(text) > 5)
    stop = text[2:4]
    flags = [f"--{name}={value}" for name, value in settings.items()]
    flags += [f"--seed={seed}", f"--stop={stop}", "--stop=never", "--max_tokens=9"]
    code, out, error = ran(
        "chat", [f"--model={tiny_folder}", "--prompt=Why?", *flags], script_cache
    )
    assert (code, out, error) == (0, f"{text[: text.index(stop)]}\n", "")


def test_a_pipe_s_lines_are_one_conversation(tiny_folder, script_cache, text_engine):
    arguments = [f"--model={tiny_folder}", "--max_tokens=9", "--temperature=1"]
    process = started("chat", arguments, script_cache, stdin=subprocess.PIPE)
    out, error = process.communicate("Why?\n\n你好\n/exit\n", timeout=120)
    assert (process.returncode, error) == (0, "")
    assert out.startswith(answer(text_engine, "Why?", temperature=1.0) + "\n")
    assert out.count("\n") >= 3  # the last line is a prompt as well


class Terminal:
    """A chat at a pseudo-terminal."""

    def __init__(self, arguments: list[str], cache: Path) -> None:
        try:
            self.end, slave = pty.openpty()
        except OSError as error:  # such as a container or chroot without /dev/pts
            pytest.skip(f"this machine gives no pseudo-terminal ({error})")
        self.process = started("chat", arguments, cache, stdin=slave, stdout=slave)
        os.close(slave)
        self._shown = b""

    def read_until(self, text: str, within: float = 120.0) -> bool:
        """Whether it shows this in time, beyond what was waited for before."""
        while text.encode() not in self._shown:
            if not select.select([self.end], [], [], within)[0]:
                return False
            self._shown += os.read(self.end, 1024)
        self._shown = self._shown.partition(text.encode())[2]
        return True

    def type(self, line: str) -> None:
        os.write(self.end, f"{line}\n".encode())


@pytest.fixture
def terminal(tiny_folder, tmp_path, script_cache, monkeypatch) -> Iterator[Terminal]:
    """With a model that hardly ever ends."""
    endless = shutil.copytree(tiny_folder, tmp_path / "endless")
    write_json(endless / "generation_config.json", {"eos_token_id": 0})
    monkeypatch.setenv("TERM", "dumb")  # no escape sequences
    # A process in the background, as a test run may be, and its children ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminal = Terminal([f"--model={endless}", "--max_tokens=3900"], script_cache)
    signal.signal(signal.SIGINT, before)
    yield terminal
    terminal.process.kill()
    terminal.process.communicate()
    os.close(terminal.end)


def test_in_the_terminal_ctrl_c_stops_the_answer_and_not_the_program(terminal):
    prompt = "\r\n> "
    assert terminal.read_until("/help lists the commands\r\n> ")
    terminal.type("/help")
    assert terminal.read_until("/reset   begins a new conversation")
    assert terminal.read_until(prompt)
    terminal.type("/rset")
    assert terminal.read_until("no such command; did you mean '/reset'?")
    assert terminal.read_until(prompt)
    terminal.type("Why?")
    assert terminal.read_until("Why?\r\n")
    assert terminal.read_until("answer")  # which it says for ever
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.read_until(prompt)
    # At the prompt: a new line. (Python misses one that comes just before it waits for a key.)
    for _ in range(60):
        terminal.process.send_signal(signal.SIGINT)
        if terminal.read_until(prompt, within=1):
            break
    else:
        pytest.fail("Ctrl-C at the prompt gives no new one")
    for line in ("! " * 300, "/reset"):
        terminal.type(line)
        assert terminal.read_until(prompt)
    terminal.type("/exit")
    _, error = terminal.process.communicate(timeout=60)
    assert terminal.process.returncode == 0
    (line,) = error.splitlines()
    assert line.startswith("error: the prompt: ")
