"""A chat endpoint that fails in set ways, on a real socket."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

GOOD = "Some say yes, others no."
VERDICT = '{"reason": "Fair.", "score": 4}'
_WORD = re.compile(r"\[(\w+)( once)?\]")
_LATER = re.compile(r"\[then (\w+)\]")


class FailingServer(ThreadingHTTPServer):
    """A request whose last message has `[WORD]` in it is answered by `_Handler.respond_WORD`.

    `[WORD once]` fails the first time for its message, and is answered then. An answer is GOOD, or
    VERDICT where JSON is asked for; after `[then WORD]` it ends with `[WORD]`, so that who is asked
    about the answer hears of that.

    Attributes:
      tries: requests for each message.
      bodies: of all requests, in their order.
      most: how many requests were under way at a time.
      dead: it hangs up on everybody.
      word: what becomes of requests without a `[WORD]`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tries: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most = self._now = 0
        self.dead, self.word = False, "good"
        self.lock, self.closing = Lock(), Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def entered(self, body: dict[str, Any], headers: dict[str, str]) -> str:
        """Counts a request; returns what is to become of it."""
        with self.lock:
            asked = body["messages"][-1]["content"]
            self.tries[asked] += 1
            self.bodies.append(body)
            self.headers.append(headers)
            self._now += 1
            self.most = max(self.most, self._now)
            found = _WORD.search(asked)
            if found is None or (found[2] and self.tries[asked] > 1):
                return self.word
            return found[1]

    def left(self) -> None:
        with self.lock:
            self._now -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Callers that hang up are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FailingServer

    def do_GET(self) -> None:
        self.send(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        if self.server.dead:
            self.close_connection = True
            return
        later = _LATER.search(body["messages"][-1]["content"])
        self.good = f"{GOOD} [{later[1]}]" if later else GOOD
        if "response_format" in body:
            self.good = VERDICT
        word = self.server.entered(
            body, {name.lower(): value for name, value in self.headers.items()}
        )
        try:
            getattr(self, f"respond_{word}")()
        finally:
            self.server.left()

    def send(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, header in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, header)
        self.end_headers()
        self.wfile.write(content)

    def respond_good(self, content: str | None = None, reason: str = "stop") -> None:
        message = {"role": "assistant", "content": self.good if content is None else content}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        self.send(200, {"model": "served", "choices": [choice], "usage": usage})

    def respond_limited(self) -> None:
        self.send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0"})

    def respond_later(self) -> None:
        self.send(429, {"error": {"message": "tomorrow"}}, {"Retry-After": "86400"})

    def respond_broken(self) -> None:
        self.send(500, b"Internal Server Error")

    def respond_slow(self) -> None:
        """A byte of the headers now and then: no single read ever waits long."""
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000:
            if self.server.closing.wait(0.01):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def respond_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b'{"choices": [{"message": {"content": "So')
        self.close_connection = True

    def respond_chunked(self) -> None:
        """A stream that ends in the middle of a chunk."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b'50\r\n{"choices": [')
        self.close_connection = True

    def respond_hangup(self) -> None:
        self.close_connection = True

    def respond_nothing(self) -> None:
        self.respond_good("")

    def respond_bodiless(self) -> None:
        self.send(200, b"")

    def respond_html(self) -> None:
        self.send(200, b"<html>So.</html>")

    def respond_other(self) -> None:
        self.send(200, {"answer": "So."})

    def respond_filtered(self) -> None:
        self.respond_good("", "content_filter")

    def respond_blocked(self) -> None:
        self.send(400, {"error": {"code": "content_filter", "message": "not that"}})

    def respond_longer(self) -> None:
        self.send(400, {"error": {"code": "context_length_exceeded", "message": "too many"}})

    def respond_refused(self) -> None:
        self.send(400, {"error": {"message": "no such option"}})

    def respond_denied(self) -> None:
        self.send(401, {"error": {"message": "bad key"}})

    def respond_unknown(self) -> None:
        self.send(404, {"error": {"message": "no such model"}})

    def respond_wait(self) -> None:
        """Answers when three requests are under way, or there is no hope of that."""
        for _ in range(200):
            if self.server.most >= 3 or self.server.closing.is_set():
                break
            time.sleep(0.01)
        self.respond_good()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests count."""


@contextmanager
def serving() -> Iterator[FailingServer]:
    """A server that runs for as long as the block does."""
    server = FailingServer()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
