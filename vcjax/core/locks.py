"""A file that one process at a time can hold."""

import fcntl
from pathlib import Path
from typing import IO

from vcjax.core.errors import UserError


def hold(path: Path, taken: str) -> IO[str]:
    """Makes the file and holds it (flock) until the returned stream is closed or its process ends.

    The file stays: removing it would let two processes each hold one of the same name.

    Raises:
      UserError: another process holds it; its message is `taken`.
    """
    stream = path.open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise UserError(taken) from None
    return stream
