"""A run: one config in a folder, by one process at a time, once.

    Run(kind, workdir, config)
      .finished()      the result that the folder has, if its lineage was written for this config;
          |            a folder of another config is an error that shows the difference
          v
      .opened()        config.json is recorded and the folder locked; a workdir in a store gets a
          |            folder on this machine, which is uploaded now and then
          v
      .do(stages)      only of a run that consists of other runs, each in a folder below: one after
          |            the other; those that are finished skip themselves
          v
      .finish(parents) lineage.json: from now on the run is finished

A run that is killed at any moment is continued by the same command, as each of its steps finds what
is there already.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vcjax.core.config_difference import config_difference
from vcjax.core.errors import UserError
from vcjax.core.files import check_folder_path, check_writable, lock_file, read_json, write_json
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.lineage import Parent, content_hash, read_lineage, write_lineage
from vcjax.core.progress import times
from vcjax.core.spool import Spool, spooled
from vcjax.core.stores import as_path, is_there

CONFIG, STAGES, SUMMARY = "config.json", "stages.json", "summary.json"
_SHOWN_FROM = 60.0
"""Seconds from which on a stage is announced with the time so far."""
_SHOWN = 12
"""Changes of a config that the refusal of a workdir names."""
_SECONDS = "seconds.json"
"""Has the seconds of the stages of an ablation that an earlier version began."""


@dataclass(frozen=True)
class Stage:
    """A run that is part of another one.

    Attributes:
      name: of its folder, relative to the workdir of the whole.
      do: does what isn't done yet, and returns the result.
      reads: the stages whose folders it is made from. Once one of these has changed, what was made
        of it is put aside and the stage done anew.
      about: what it does, for a person who waits.
    """

    name: str
    do: Callable[[], Any]
    reads: tuple[str, ...] = ()
    about: str = ""

    @property
    def kind(self) -> str:
        """What stages of several arms, seeds and rounds share: `train` of `a/seed0/train2`."""
        return self.name.rpartition("/")[2].rstrip("0123456789")


def explained(stages: Sequence[Stage], about: Mapping[str, str]) -> list[Stage]:
    """The stages with what each does, which `about` has by their kind."""
    return [replace(stage, about=about[stage.kind]) for stage in stages]


class Run:
    """What every run does around its own work; the head of this file has the order of calls.

    Attributes:
      workdir: as the user named it; it may be in a store.
      config: as JSON has it.
      seconds: by stage, what it has taken over all starts of the run.
    """

    def __init__(
        self,
        kind: str,
        workdir: Path,
        config: Mapping[str, Any],
        *,
        seed: int | None = None,
        extendable: Sequence[str] = (),
        deferred: Sequence[str] = (),
        free: Sequence[str] = (),
        renewing: Sequence[str] = (),
    ) -> None:
        """Reads and writes nothing.

        Args:
          kind: of the run, for its lineage.
          extendable: fields, as `section.name`, that may be raised, which continues a finished run.
          deferred: fields that may be raised too, but alone don't continue a finished run.
          free: sections that may change in any way, which continues a finished run; the run's
            stages record what is theirs of them.
          renewing: roles of inputs, such as `model`. Once the content of one of these has changed
            under the same path, a finished run counts as unfinished: what depends on it is made
            anew.
        """
        # As JSON has it: it is compared with what a file has, where tuples are lists.
        self.workdir, self.config = workdir, json.loads(json.dumps(config))
        self.seconds: dict[str, float] = {}
        self._kind, self._seed, self._free = kind, seed, free
        self._renewing = tuple(renewing)
        self._extendable, self._deferred = tuple(extendable), tuple(deferred)
        self._spool = Spool(workdir, workdir)

    def check(self) -> None:
        """Raises a UserError if the workdir can't be used, or belongs to another config.

        The error shows the difference. Extendable and deferred fields may grow.
        """
        check_folder_path(self.workdir)
        if (self.workdir / CONFIG).is_file():
            self._check_config(self.workdir)
        else:
            check_writable(self.workdir)

    def is_finished(self) -> bool:
        """Whether the workdir has this run, finished. Raises: UserError, see `check`."""
        return self._changed_since_end() is not None

    def finished(self, *, count: str = "", result: str = SUMMARY) -> Any:
        """The result of the run, if it was finished before, which it then reports; else None.

        Args:
          count: the number in the result that is reported, e.g. `steps`.
          result: the file that has the result as JSON.

        Raises:
          UserError: see `check`.
        """
        if (changed := self._changed_since_end()) is None:
            return None
        found = read_json(self.workdir / result)
        print(f"{self.workdir}: already finished" + (f" ({found[count]} {count})" if count else ""))
        if changed and self._extendable:
            fields = " or ".join(f"config.{name}" for name in self._extendable)
            print(f"to use the new {', '.join(changed)}, raise {fields} too")
        return found

    def _changed_since_end(self) -> list[str] | None:
        """Deferred fields that were changed since the run was finished; None if it wasn't."""
        self.check()
        if not (self.workdir / LINEAGE).is_file():
            return None
        # The lineage's config, not config.json: the latter is that of an extension from its first
        # moment on, the former only once it has ended.
        lineage = read_lineage(self.workdir)
        if renewed := self._renewed(lineage):
            print(f"{self.workdir}: {renewed} has changed since the run was finished: it continues")
            return None
        changed = list(config_difference(lineage["config"], self.config))
        return changed if set(changed) <= set(self._deferred) else None

    def _renewed(self, lineage: Mapping[str, Any]) -> str:
        """The first input that has changed since the run was finished, or an empty text."""
        for parent in (Parent.from_record(each, self.workdir) for each in lineage["parents"]):
            if parent.role.rstrip("0123456789") not in self._renewing or parent.path is None:
                continue
            path = as_path(parent.path)
            # One that is gone, such as a model that was moved, isn't known to have changed.
            names = [path / name for name in parent.files] if parent.files else [path]
            if all(map(is_there, names)) and content_hash(path, parent.files) != parent.hash:
                return parent.reference
        return ""

    @contextmanager
    def opened(self, spool: Spool | None = None) -> Iterator[Path]:
        """Yields the folder to work in, on this machine; it is locked until the block ends.

        Call it after every input has been checked: nothing is written before it.

        Args:
          spool: that of the workdir, where the caller has opened it.

        Raises:
          UserError: see `check`; or another process is running in the folder.
        """
        if spool is None:
            with spooled(self.workdir) as spool, self.opened(spool) as folder:
                yield folder
            return
        self._spool, folder = spool, spool.local
        check_writable(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with lock_file(folder / ".lock", f"{self.workdir}: another run is using it"):
            if (folder / CONFIG).is_file():
                self._check_config(folder)
            write_json(folder / CONFIG, self._recorded)
            spool.remove(LINEAGE)  # a run that is being extended isn't finished
            spool.push()  # another machine that tries the same workdir finds its config
            yield folder

    def save(self) -> None:
        """Uploads what has changed, if the workdir is in a store."""
        self._spool.push()

    def do(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """Does the stages in their order and reports which one; returns their results by name.

        From a minute on the report has the time so far, and what is left once a stage of each kind
        that is to come has been done: the arms of an ablation take about as long as each other.

        `stages.json` has for each stage that was begun its seconds and the hashes of what it reads.
        """
        folder, results = self._spool.local, {}
        record = _read_stages(folder)
        taken: dict[str, list[float]] = {}
        for number, stage in enumerate(stages, start=1):
            about = f": {stage.about}" if stage.about else ""
            spent = _times(taken, stages[number - 1 :])
            print(f"[{number}/{len(stages)}] {stage.name}{about}{spent}", flush=True)
            # A stage's own config has only the paths of what it reads, which stay the same when the
            # stage before is extended; hence the hashes.
            read = {name: content_hash(folder / name) for name in stage.reads}
            if stage.name in record and record[stage.name]["read"] != read:
                del record[stage.name]
                _put_aside(folder / stage.name)
            begun = record.setdefault(stage.name, {"seconds": 0.0, "read": read})
            # Before the stage starts: a kill within it must not leave a folder of unknown origin.
            write_json(folder / STAGES, record)
            start = time.monotonic()
            try:
                results[stage.name] = stage.do()
            finally:
                begun["seconds"] += time.monotonic() - start
                write_json(folder / STAGES, record)
            taken.setdefault(stage.kind, []).append(begun["seconds"])
        self.seconds = {name: begun["seconds"] for name, begun in record.items()}
        return results

    def finish(self, parents: Sequence[Parent], files: Mapping[str, str] | None = None) -> None:
        """Writes the lineage, after everything else that a run writes.

        Args:
          files: see `write_lineage`.
        """
        self.save()  # all that the lineage names, before it
        write_lineage(
            self._spool.local,
            kind=self._kind,
            parents=list(parents),
            config=self.config,
            seed=self._seed,
            target=self.workdir,
            files=files,
        )
        self.save()

    @property
    def _recorded(self) -> dict[str, Any]:
        """What `config.json` has."""
        return {name: value for name, value in self.config.items() if name not in self._free}

    def _check_config(self, folder: Path) -> None:
        growing = (*self._extendable, *self._deferred)
        changes = [
            (before is None or after is None, f"{field}: {before!r} -> {after!r}")
            for field, (before, after) in config_difference(
                read_json(folder / CONFIG), self._recorded
            ).items()
            # None: only one of the configs has the field.
            if field not in growing or not _has_grown(before, after)
        ]
        if changes:
            # Another variant of a config may lack dozens of fields: what both have says more.
            ordered = [change for _, change in sorted(changes, key=lambda each: each[0])]
            more = f"; and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
            raise UserError(
                f"{self.workdir}: belongs to a run of another config "
                f"({'; '.join(ordered[:_SHOWN])}{more}); choose another workdir"
            )


def _has_grown(before: Any, after: Any) -> bool:
    # The folder of another script may have a field of the same name with values of another type.
    return before is not None and type(before) is type(after) and before <= after


def _times(taken: Mapping[str, Sequence[float]], ahead: Sequence[Stage]) -> str:
    """How long it took so far, over all starts, and how long the stages ahead will take."""
    so_far = sum(map(sum, taken.values()))
    if so_far < _SHOWN_FROM:
        return ""
    known = all(stage.kind in taken for stage in ahead)
    left = (
        sum(sum(taken[stage.kind]) / len(taken[stage.kind]) for stage in ahead) if known else None
    )
    return f" ({times(so_far, left)})"


def _read_stages(folder: Path) -> dict[str, Any]:
    if (folder / STAGES).is_file():
        return read_json(folder / STAGES)
    earlier = read_json(folder / _SECONDS) if (folder / _SECONDS).is_file() else {}
    return {name: {"seconds": seconds, "read": {}} for name, seconds in earlier.items()}


def _put_aside(folder: Path) -> None:
    # Not removed: it may have taken days, and only its owner knows whether it is still wanted.
    if folder.is_dir():
        aside = folder.with_name(f".{folder.name}.superseded")
        print(f"{folder}: made anew, as a stage before it was extended; kept as {aside.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
