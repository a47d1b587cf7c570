"""The cluster of Ray that a run works on; Ray is installed with the extra `ray`."""

import os
import socket
from typing import Any
from urllib.parse import urlsplit

from vcjax.core.errors import UserError, one_line
from vcjax.core.extras import require

ADDRESS = "RAY_ADDRESS"
"""The environment variable with the cluster's address. Without it Ray starts one of this machine,
unless it has one already."""
_SECONDS = 10.0


def connect(asked: str) -> None:
    """Connects this process to the cluster, unless it is already.

    Raises:
      UserError: Ray isn't installed, or no cluster is at the address.
    """
    require({"ray": "ray"}, asked)
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get(ADDRESS, "")
    _check_listening(address)
    # What goes on in the cluster is in its own logs and not in that of the run.
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"{ADDRESS}={address}: no cluster of Ray: {one_line(error)}") from None


def _check_listening(address: str) -> None:
    """Raises a UserError where nothing listens: Ray itself would wait for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        if parts.hostname and parts.port:
            socket.create_connection((parts.hostname, parts.port), timeout=_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{ADDRESS}={address}: no cluster of Ray is there ({one_line(error)}); start one with "
            "`ray start --head`, or unset it to have one of this machine"
        ) from None
