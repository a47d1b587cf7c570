"""Clients of every kind, by number: the same number always does the same, modulo 64."""

from typing import Any

from tests.serve.servers import Server

CHAT = "/v1/chat/completions"
_LONG = 2500
_KINDS = ("asks", "streams", "asks", "leaves", "streams", "garbles", "asks", "mistakes")


class Crowd:
    """Clients of one server."""

    def __init__(self, server: Server) -> None:
        self.server, self.openai = server, server.client()

    def kind(self, number: int) -> str:
        """What this client does."""
        return _KINDS[number % len(_KINDS)]

    def messages(self, number: int) -> list[dict[str, str]]:
        """What it asks. Prompts differ in length, and some share their prefix."""
        number %= 64
        prefix = "Reply with JSON only. 只用一句话回答。" * (number % 3)
        return [{"role": "user", "content": f"{prefix} {number}? " * (1 + number % 2)}]

    def client(self, number: int) -> str:
        """Does it; returns the answer's text, or the kind where all went as it should."""
        kind = self.kind(number)
        if kind == "garbles":
            response = self.server.send(CHAT, b'{"messages": [nonsense' * (1 + number))
            assert response.status == 400
            assert "isn't JSON" in response.error["message"]
            return kind
        if kind == "mistakes":
            wrong = {"model": "tiny", "messages": self.messages(number), "temperature": -number}
            response = self.server.send(CHAT, wrong)
            assert response.status == 400
            assert response.error["param"] == "temperature"
            return kind
        if kind == "leaves":
            self._leave(number)
            return kind
        return self._ask(number, stream=kind == "streams")

    def _ask(self, number: int, *, stream: bool) -> str:
        settings: dict[str, Any] = {"model": "tiny", "messages": self.messages(number)}
        settings |= {"max_tokens": 24, "seed": number}
        if not stream:
            answer = self.openai.chat.completions.create(**settings)
            return answer.choices[0].message.content or ""
        chunks = self.openai.chat.completions.create(**settings, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    def _leave(self, number: int) -> None:
        """Breaks off a long answer, in its midst or before anything of it has come."""
        connection = self.server.connect()
        stream = number % 64 < 32
        long = {"messages": self.messages(number), "max_tokens": _LONG, "min_tokens": _LONG}
        connection.request("POST", CHAT, **self.server.asking(long | {"stream": stream}))
        if stream:
            assert connection.getresponse().readline().startswith(b"data: ")
        connection.close()

    def compile(self) -> None:
        """Has the server compile what the crowd may need: one who leaves late has come far."""
        long = {"messages": self.messages(0), "max_tokens": _LONG, "min_tokens": _LONG}
        assert self.server.send(CHAT, {"model": "tiny", **long}).status == 200

    def resident(self) -> float:
        """Bytes of the server's process that are in memory."""
        return self.server.metric("process_resident_memory_bytes")
