"""The server as a process: a port, signals, models that load while it answers, a clean end."""

import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

import uvicorn

from vcjax.core.errors import UserError
from vcjax.serve.app import build_app
from vcjax.serve.config import ServeConfig
from vcjax.serve.http import Gate
from vcjax.serve.models import Models

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(config: ServeConfig) -> bool:
    """Serves until SIGTERM or SIGINT: then it lets no one in and finishes what is under way.

    A second signal ends the process at once.

    Returns:
      Whether the engines have ended. Otherwise the signal came while a model was being loaded or
      compiled, which can't be interrupted and may take minutes; the process must then end without
      the interpreter's own end, which would take away what that thread works on.

    Raises:
      UserError: a model that can't be found or loaded, or a port that can't be had.
    """
    models = Models(config)
    with _listening(config) as listener:
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if not config.api_key and not _is_loopback(host):
            _say(f"warning: {address} can be reached from other machines, and asks for no API key")
        gate = Gate(len(models.all) * (config.slots + config.max_waiting))
        server = _Server(
            uvicorn.Config(
                build_app(config, models, gate),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                # A client that doesn't read its answer can't hold up the end for longer.
                timeout_graceful_shutdown=int(config.timeout_s) + 5,
            ),
            gate,
        )

        def loaded() -> None:
            if models.failure is not None:
                server.should_exit = True
            else:
                _say(f"serving {', '.join(config.called)} at {address}/v1")

        with server.ending_on_signals():
            _say(f"listening at {address}, loading {', '.join(config.models)}")
            models.load(loaded)
            server.run(sockets=[listener])
    if models.are_loading and models.failure is None:
        return False
    for service in models.services():
        service.close(drain=False)
    if models.failure is not None:
        raise models.failure
    return True


class _Server(uvicorn.Server):
    """Ends as `serve` says."""

    def __init__(self, config: uvicorn.Config, gate: Gate) -> None:
        super().__init__(config)
        self._gate = gate

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
        """The first signal begins the end; with the second the process dies of it."""
        if self._gate.closing:
            signal.signal(sig, signal.SIG_DFL)
            os.kill(os.getpid(), sig)
        self._gate.closing = self.should_exit = True
        line = f"{signal.Signals(sig).name}: finishing what is under way; once more ends at once\n"
        # Not through `sys.stderr`: the signal may have come while it was being written to, which a
        # buffer refuses ("reentrant call").
        os.write(sys.stderr.fileno(), line.encode())


@contextmanager
def _listening(config: ServeConfig) -> Iterator[socket.socket]:
    """Raises: UserError where the address can't be had."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host={config.host} --port={config.port}: can't listen there ({error}); "
            "choose another, or --port=0 for any that is free"
        ) from None
    with listener:
        yield listener


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
