"""A server in its own process, and a client that sends exactly what a test gives it."""

import http.client
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

from tests.processes import started

KEY = "sesame"


@dataclass
class Response:
    """What came back; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's shape, and nothing else."""
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"message", "type", "param", "code"}
        return self.json["error"]


def eventually(is_so: Callable[[], bool], within: float = 60.0) -> None:
    """Waits for what another process must do."""
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


@dataclass
class Client:
    """What asks the server at a port of this machine."""

    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.address, api_key=KEY, max_retries=0, timeout=120)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def send(
        self, path: str, body: Any = None, *, method: str | None = None, **headers: str
    ) -> Response:
        """One request; a `body` that isn't bytes is sent as JSON."""
        connection = self.connect()
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, content, given)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Response(response.status, headers, response.read())
        connection.close()
        return answer

    def asking(self, changes: dict[str, Any]) -> dict[str, Any]:
        """What `HTTPConnection.request` takes to ask for a chat."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Why?"}]} | changes
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        return {"body": json.dumps(body), "headers": headers}

    def health(self) -> dict[str, Any]:
        return self.send("/health").json

    def metric(self, name: str) -> float:
        """The value of a line of `/metrics`, e.g. `vcjax_decoding{model="tiny"}`."""
        lines = self.send("/metrics").content.decode().splitlines()
        (value,) = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name]
        return float(value)


@dataclass
class Server(Client):
    """Attributes: `lines` is what it wrote to standard error so far."""

    process: subprocess.Popen = field(kw_only=True)
    lines: list[str] = field(default_factory=list)
    serving: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls, model: Path, cache: Path, arguments: Sequence[str]) -> "Server":
        """Returns once the port is open."""
        # A warm-up takes longer than most tests: who needs one asks for it in `arguments`.
        given = [f"--model={model}", "--name=tiny", "--port=0", "--warm_up=0", *arguments]
        server = cls(process=started("serve", given, cache))
        assert server.process.stderr is not None
        server._read_line()
        server.port = int(server.lines[-1].partition("127.0.0.1:")[2].partition(",")[0])
        threading.Thread(target=server._read, daemon=True).start()
        return server

    def _read_line(self) -> bool:
        line = self.process.stderr.readline()
        self.lines.append(line)
        if line.startswith("serving "):
            self.serving.set()
        return bool(line)

    def _read(self) -> None:
        while self._read_line():
            pass

    def wait_ready(self) -> "Server":
        assert self.serving.wait(600), self.lines
        return self

    def stop(self) -> int:
        """Asks it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)
