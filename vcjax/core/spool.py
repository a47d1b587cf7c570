"""The files of a run whose workdir is in a store, on this machine while they grow.

A file in a store can't be appended to. So a run has a folder here, the spool, that is uploaded,
file by file and whole, whenever the run could be continued from what has been written; work that is
lost with a spool is done again. Large files that are written once (checkpoints) are written to the
store directly. A workdir on this machine is its own spool.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from vcjax.core.files import cache_folder, hash_text, lock_file
from vcjax.core.stores import (
    absolute,
    download,
    files_below,
    is_remote,
    remove_tree,
    size_of,
    stamp,
    upload,
)

_GROWS = 2**30
"""Bytes from which on a file is data that was written at once, and no log."""


@dataclass
class Spool:
    """The two folders of one workdir.

    Attributes:
      home: the workdir as the user names it.
      local: the folder on this machine that has its files while the run is running; it is `home`
        itself, unless that is in a store.
    """

    home: Path
    local: Path
    _direct: Callable[[str], bool] = field(default=lambda name: False)
    _uploaded: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    @property
    def is_remote(self) -> bool:
        """Whether the run is in a store."""
        return self.home != self.local

    def pull(self) -> None:
        """Downloads the files that are in the store and not on this machine."""
        if not self.is_remote:
            return
        # Checkpoints stay where they are: they are read from the store by the processes that need
        # them.
        names = [name for name in files_below(self.home) if not self._direct(name)]
        missing = [name for name in names if not (self.local / name).is_file()]
        download(self.home, self.local, missing)
        self._uploaded |= {name: stamp(self.local / name) for name in missing}

    def push(self) -> None:
        """Uploads each file that has changed since it was uploaded or downloaded.

        The files may grow meanwhile. Hidden ones, which lineages leave out too, aren't uploaded.
        """
        if not self.is_remote:
            return
        for name in sorted(files_below(self.local)):
            if any(part.startswith(".") for part in Path(name).parts):
                continue
            now = stamp(self.local / name)  # before the copy: what grows meanwhile is for next time
            if self._uploaded.get(name) != now:
                with _snapshot(self.local, name) as folder:
                    upload(folder, self.home, [name])
                # After the upload: a kill in between uploads the file again, and never leaves it
                # out.
                self._uploaded[name] = now

    def remove(self, name: str) -> None:
        """Removes a file here and in the store; one that isn't there is no error."""
        for folder in {self.home, self.local}:
            (folder / name).unlink(missing_ok=True)
        self._uploaded.pop(name, None)


@contextmanager
def _snapshot(folder: Path, name: str) -> Iterator[Path]:
    """Yields a folder with a copy of the file, which doesn't grow: an upload begins with the size
    of the file."""
    if size_of(folder / name) >= _GROWS:
        yield folder
        return
    with TemporaryDirectory(prefix="vcjax-") as copy:
        target = Path(copy) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target)
        yield Path(copy)


@contextmanager
def spooled(
    workdir: Path, direct: Callable[[str], bool] = lambda name: False, process: int = 0
) -> Iterator[Spool]:
    """Yields a workdir's spool with all that is in the store, and removes it in the end.

    Args:
      direct: whether a file, named relative to the workdir, is read and written in the store
        itself.
      process: number of this process, of several with one workdir.

    Raises:
      UserError: another process on this machine has the workdir.
    """
    if not is_remote(workdir):
        yield Spool(workdir, workdir)
        return
    home = absolute(workdir)
    folder = cache_folder() / "spools" / f"{hash_text(str(home))[:16]}-{process}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(folder.with_suffix(".lock"), f"{home}: another run is using it"):
        remove_tree(folder)  # of a run that was killed: what it hadn't uploaded is done again
        local = folder / home.name  # where a workdir's name is shown, it is that of the run
        local.mkdir(parents=True)
        spool = Spool(home, local, direct)
        spool.pull()
        try:
            yield spool
        finally:
            remove_tree(folder)


def after_every(count: int, call: Callable[[], None]) -> Callable[[], None]:
    """A function that makes the call each time it has been called `count` times."""
    calls = 0

    def called() -> None:
        nonlocal calls
        calls += 1
        if calls % count == 0:
            call()

    return called
