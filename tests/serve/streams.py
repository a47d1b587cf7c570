"""Well-behaved streams, in a process of their own, and when each of their tokens came.

python -m tests.serve.streams --port=PORT

Eight clients ask for one long answer after the other until standard input ends. Then the times of
the pieces of each stream are printed as a line of JSON. They are taken in this process, so that
what an attacker's threads do in theirs doesn't count as the server's.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from tests.serve.crowd import CHAT
from tests.serve.servers import Client

STREAMS = 8
TOKENS = 400


class Streams:
    """The process. A context manager that waits for its end; then `gaps` are known."""

    def __init__(self, server: Client) -> None:
        command = [sys.executable, "-m", "tests.serve.streams", f"--port={server.port}"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._found: list[Any] = []

    def __enter__(self) -> "Streams":
        return self

    def __exit__(self, *_: object) -> None:
        out, _ = self._process.communicate()
        assert self._process.returncode == 0
        self._found = json.loads(out)

    def whole(self) -> dict[int, int]:
        """The number of whole answers of each stream, of which all are the same."""
        return {each["seed"]: each["answers"] for each in self._found}

    def largest_gap(self, start: float, end: float) -> float:
        """Seconds between two pieces of one answer, within an interval of `time.monotonic`; its
        length where no piece came."""
        gaps = (gap for each in self._found for at, gap in each["gaps"] if start < at - gap < end)
        return max(gaps, default=end - start)


def stream(server: Client, seed: int, ended: threading.Event, found: list[Any]) -> None:
    """Asks for the same answer again and again."""
    gaps: list[Sequence[float]] = []
    texts: list[str] = []
    asked = {"seed": seed, "stream": True, "max_tokens": TOKENS, "min_tokens": TOKENS}
    while not ended.is_set():
        connection = server.connect()
        connection.request("POST", CHAT, **server.asking(asked))
        response = connection.getresponse()
        if response.status == 429:  # the queue is full of others' requests
            connection.close()
            time.sleep(0.05)
            continue
        assert response.status == 200, response.status
        lines, before = [], None
        while line := response.readline():
            if line.startswith(b"data: "):
                now = time.monotonic()
                if before is not None:
                    gaps.append((now, now - before))
                before = now
                lines.append(line)
        connection.close()
        assert lines.pop() == b"data: [DONE]\n"
        choices = [json.loads(line.removeprefix(b"data: "))["choices"][0] for line in lines]
        assert choices[-1]["finish_reason"] == "length"
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        texts.append(hashlib.sha256(text.encode()).hexdigest())
    assert len(set(texts)) == 1
    found.append({"seed": seed, "answers": len(texts), "gaps": gaps})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    server = Client(parser.parse_args().port)
    ended, found = threading.Event(), []
    threads = [
        threading.Thread(target=stream, args=(server, seed, ended, found))
        for seed in range(STREAMS)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    assert len(found) == STREAMS  # none failed
    print(json.dumps(found))


if __name__ == "__main__":
    main()
