"""A port to listen at and a process that ends cleanly at a signal: what every server needs."""

import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from vcjax.core.errors import UserError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yields a socket that listens at the address; port 0 is any free one.

    Raises:
      UserError: it can't be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Listening from now on, before a model is loaded: clients get 503 instead of no connection.
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host={host} --port={port}: can't listen there ({error}); "
            "choose another, or --port=0 for any that is free"
        ) from None
    with listener:
        yield listener


def address_of(listener: socket.socket) -> str:
    """`http://HOST:PORT` of a socket that listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


class SignalledServer(uvicorn.Server):
    """Ends at SIGTERM or SIGINT once the open requests are done; at a second signal at once."""

    def __init__(self, app: ASGIApp, grace: int, on_signal: Callable[[], None]) -> None:
        """Serves `app`.

        Args:
          grace: seconds that open requests have once the end has begun: a client that doesn't read
            its answer can't delay it for longer.
          on_signal: called at the first signal, inside its handler.
        """
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=grace,
        )
        super().__init__(config)
        self._on_signal, self._is_ending = on_signal, False

    def capture_signals(self) -> AbstractContextManager[None]:
        """Does nothing: uvicorn's own would raise the signal again at the end."""
        return nullcontext()

    @contextmanager
    def ending_on_signals(self) -> Iterator[None]:
        """Handles signals, from before the server runs."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the end at the first signal; the second one terminates the process."""
        if self._is_ending:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
        self._is_ending = self.should_exit = True
        self._on_signal()
        line = f"{signal.Signals(sig).name}: finishing what is under way; once more ends at once\n"
        # Not through `sys.stderr`: the signal may have come while it was being written to, which a
        # buffer refuses ("reentrant call").
        os.write(sys.stderr.fileno(), line.encode())
