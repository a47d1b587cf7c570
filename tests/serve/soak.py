"""The server's memory over 2,000 requests, of every kind of client, 64 at a time.

python -m tests.serve.soak [--requests=2000] [--model=REF]

Prints the resident memory of the server's process after every hundred, and fails where a request
typically leaves 4 KiB or more behind: the logits of its 24 steps alone would be 70 kB. (Typically:
now and then another length of a prompt, or another share of one in the pool, has the server compile
one more program, which stays.)
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from tests.serve.crowd import Crowd
from tests.serve.servers import KEY, Server
from tests.tiny import tiny_model
from vcjax.weights.export import write_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--model", help="default: the tests' tiny model")
    given = parser.parse_args()
    os.environ["TINY_KEY"] = KEY
    with tempfile.TemporaryDirectory() as folder:
        model = Path(given.model or folder) / ("" if given.model else "tiny")
        if not given.model:
            model.mkdir()
            write_model(model, tiny_model(), form="hf")
        flags = ["--slots=4", "--max_waiting=200", "--api_key_env=TINY_KEY"]
        server = Server.start(model, Path(folder) / "cache", flags).wait_ready()
        try:
            crowd = Crowd(server)
            crowd.compile()
            left = soak(crowd, given.requests)
        finally:
            server.stop()
    sys.exit(left >= 4096)


def soak(crowd: Crowd, count: int) -> float:
    """Sends the requests; the bytes that one left, as the median over their hundreds."""
    start = time.monotonic()
    sizes = [crowd.resident()]
    with ThreadPoolExecutor(64) as clients:
        for done in range(0, count, 100):
            for number, outcome in enumerate(clients.map(crowd.client, range(done, done + 100))):
                assert outcome is not None, number
            sizes.append(crowd.resident())
            seconds = time.monotonic() - start
            print(f"{done + 100:6} requests  {sizes[-1] / 2**20:8.1f} MiB  {seconds:6.0f} s")
    left = statistics.median(later - earlier for earlier, later in pairwise(sizes)) / 100
    print(f"{left:.0f} bytes a request")
    return left


if __name__ == "__main__":
    main()
