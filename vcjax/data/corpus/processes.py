"""Who does the work on shards: an executor; here the one with a process for each core.

Each call of a `Worker`'s method makes one shard, and says so by the file that it writes last. So an
executor needs no more than to make all calls, in any order, and to end once they are done: what
is finished, it isn't asked for again.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.worker import Worker

MB_PER_WORKER = 500
"""Of memory that a process takes; `launch.bench prepare` measures it."""


class Executor(Protocol):
    """Calls methods of Workers."""

    def run(self, method: str, todo: Sequence[tuple], done: Callable[[], object]) -> None:
        """Calls a method with each of the arguments in `todo`, of which there are some.

        Args:
          done: to be called after each of them.

        Raises:
          Whatever a call raises; the calls that haven't begun are then left out.
        """
        ...


class LocalProcesses:
    """An Executor on this machine, whose processes end when this one does, however it ends."""

    def __init__(self, config: PrepareConfig, work: Path) -> None:
        """Args: `work` is the folder between the rounds."""
        self._config, self._work = config, work
        wanted = config.workers or os.cpu_count() or 1
        self.workers = max(1, min(wanted, config.memory_mb // MB_PER_WORKER))

    def run(self, method: str, todo: Sequence[tuple], done: Callable[[], object]) -> None:
        if self.workers == 1 or len(todo) == 1:
            worker = Worker(self._config, self._work)
            for each in todo:
                getattr(worker, method)(*each)
                done()
            return
        with ProcessPoolExecutor(
            self.workers,
            multiprocessing.get_context("spawn"),
            _start,
            (self._config, self._work),
        ) as pool:
            futures = [pool.submit(_call, method, each) for each in todo]
            try:
                for future in as_completed(futures):
                    future.result()
                    done()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


# --- in a process of its own ---------------------------------------------------------------------

_worker: Worker | None = None


def _start(config: PrepareConfig, work: Path) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends, and with it this process
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process for each core
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = Worker(config, work)


def _end_with_parent() -> None:
    """A pool's processes wait for work for ever where their parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(method: str, arguments: tuple) -> None:
    getattr(_worker, method)(*arguments)
    sys.stdout.flush()
