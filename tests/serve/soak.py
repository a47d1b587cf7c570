"""The server's memory over 2,000 requests, of every kind of client, 64 at a time.

python -m tests.serve.soak [--requests=2000] [--model=REF]

Prints the resident memory of the server's process as it goes, and fails where it grows by more
than a hundredth from the first quarter to the end.
"""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.serve.crowd import Crowd
from tests.serve.servers import KEY, Server
from tests.tiny import tiny_bundle
from vcjax.weights.bundle import write_bundle


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
            write_bundle(model, tiny_bundle(), form="hf")
        flags = ["--slots=4", "--max_waiting=200", "--api_key_env=TINY_KEY"]
        server = Server.start(model, Path(folder) / "cache", flags).wait_ready()
        try:
            grown = soak(Crowd(server), given.requests)
        finally:
            server.stop()
    sys.exit(grown > 0.01)


def soak(crowd: Crowd, count: int) -> float:
    """Sends the requests; the share by which memory grew from the first quarter to the end."""
    start, sizes = time.monotonic(), []
    step = count // 20
    with ThreadPoolExecutor(64) as clients:
        for done in range(0, count, step):
            for number, outcome in enumerate(clients.map(crowd.client, range(done, done + step))):
                assert outcome is not None, number
            sizes.append(crowd.resident())
            seconds = time.monotonic() - start
            print(f"{done + step:6} requests  {sizes[-1] / 2**20:8.1f} MiB  {seconds:6.0f} s")
    first, last = max(sizes[:5]), sizes[-1]
    print(f"{(last - first) / first:+.2%} from the first quarter's peak to the end")
    return (last - first) / first


if __name__ == "__main__":
    main()
