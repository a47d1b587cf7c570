"""A server from start to end: loading, a full queue, timeouts, draining."""

import json
import re
import signal

import pytest

from tests.processes import launched, started
from tests.scripts import ran
from tests.serve.crowd import CHAT
from tests.serve.servers import eventually
from vcjax.core.errors import UserError
from vcjax.serve.config import ServeConfig

LONG = {"max_tokens": 4000, "min_tokens": 4000}
"""More than is made within a second."""
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "Why?"}]}


def test_it_answers_while_it_loads_and_ends_there_at_a_signal(start):
    server = start()
    response = server.send("/health")
    assert response.status == 503
    assert response.json["status"] in ("loading", "warming")
    response = server.send(CHAT, ASKED)
    assert response.status == 503
    assert response.error["code"] == "warming"
    assert response.headers["retry-after"] == "1"
    assert server.send(CHAT, ASKED | {"temperature": "hot"}).status == 400
    assert server.metric('vcjax_ready{model="tiny"}') == 0
    assert server.stop() == 0


def test_a_signal_in_the_first_moment_of_loading_ends_it_without_a_crash(start):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = start()
        server.process.send_signal(number)
        assert server.process.wait(60) == 0
        # What it listens at, the signal, perhaps what the model has room for, the stream's end.
        lines = [line for line in server.lines if "slots of" not in line]
        assert len(lines) <= 3


def test_a_request_beyond_the_time_limit_is_refused(start):
    server = start("--timeout_s=1").wait_ready()
    response = server.send(CHAT, ASKED | LONG)
    assert response.status == 504
    assert response.error["code"] == "timeout"
    assert "1 s" in response.error["message"]
    # A stream that has begun is cut, as by a bound of tokens. (It can't while something compiles.)
    response = server.send(CHAT, ASKED | LONG | {"stream": True})
    while response.status == 504:
        response = server.send(CHAT, ASKED | LONG | {"stream": True})
    lines = response.content.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    last = json.loads(lines[-3].removeprefix("data: "))
    assert last["choices"][0]["finish_reason"] == "length"
    eventually(lambda: server.health()["models"]["tiny"]["decoding"] == 0)
    assert server.stop() == 0


def test_a_second_signal_ends_at_once(start):
    server = start().wait_ready()
    connection = server.connect()
    connection.request("POST", CHAT, **server.asking(LONG | {"n": 16}))
    eventually(lambda: server.health()["models"]["tiny"]["decoding"] == 16)
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: server.lines[-1].startswith("SIGTERM: "))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--model=/nowhere/model"], "/nowhere/model"),
        (["--api_key_env=NO_SUCH_KEY"], "--api_key_env: the environment has no NO_SUCH_KEY"),
        (["--port=99999"], "--host=127.0.0.1 --port=99999: can't listen there"),
    ],
)
def test_a_mistake_ends_in_one_line(tiny_folder, script_cache, flags, line):
    code, out, error = ran("serve", [f"--model={tiny_folder}", *flags], script_cache)
    assert (code, out) == (2, "")
    (message,) = error.splitlines()
    assert message.startswith("error: ")
    assert line in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ()}, "model: name one model"),
        ({"names": ("a",)}, "name: 1 names for 2 models"),
        ({"models": ("a", "a")}, "name: models need names that differ"),
        ({"slots": -1}, "slots must be at least 0, not -1"),
        ({"timeout_s": 0.0}, "timeout_s must be above 0"),
        ({"dtype": "float8"}, "dtype 'float8' is not supported"),
    ],
)
def test_a_config_is_checked(changes, message):
    with pytest.raises(UserError, match=re.escape(message)):
        ServeConfig(**{"models": ("a", "b")} | changes)


def test_a_model_that_cannot_be_loaded_ends_the_server(tiny_folder, tmp_path, script_cache):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in tiny_folder.iterdir():
        content = path.read_bytes()
        (broken / path.name).write_bytes(
            content[:-1000] if path.suffix == ".safetensors" else content
        )
    code, _, error = launched("serve", [f"--model={broken}", "--port=0"], script_cache)
    assert code == 2
    assert error.splitlines()[-1].startswith(f"error: {broken}/model.safetensors: truncated")


def test_other_machines_may_come_with_a_warning_alone(tiny_folder, script_cache):
    process = started(
        "serve", [f"--model={tiny_folder}", "--host=0.0.0.0", "--port=0"], script_cache
    )
    line = process.stderr.readline()
    process.kill()
    process.communicate()
    assert line.startswith("warning: http://0.0.0.0:")
    assert "no API key" in line
