"""A corpus whose making is killed, or shared with another task, is the same to the byte."""

import gzip
import json

import pytest

from tests.data.corpus.corpora import hashes, make, steps, write_corpus
from vcjax.core.errors import UserError
from vcjax.data.corpus import run, worker
from vcjax.data.corpus.worker import Worker

__all__ = ["make", "steps"]  # fixtures


def test_a_kill_at_any_moment_changes_no_byte(make, tmp_path, monkeypatch):
    """A kill is an error that nothing handles, before or after each kind of work."""
    names = write_corpus(tmp_path, 40)
    for module in (run, worker):
        monkeypatch.setattr(module, "MEGABYTE", 10)
    config = {"steps": "twelve,shout,eleven", "validation": 0.2}
    _, whole = make(names, "out/whole", **config)
    expected = hashes(whole)
    killed = 0
    for method in ("read", "refine", "write", "_decide", "_finish"):
        owner = run._Corpus if method.startswith("_") else Worker
        before = getattr(owner, method)
        for after, nth in ((False, 1), (True, 0)):
            kill = _Kill(before, nth, after)
            monkeypatch.setattr(owner, method, lambda *a, k=kill, **o: k(*a, **o))
            folder = f"{method}{after}/whole"
            try:
                make(names, folder, **config)
            except _Killed:
                killed += 1
            monkeypatch.setattr(owner, method, before)
            _, folder = make(names, folder, **config)
            assert hashes(folder) == expected, (method, after)
    assert killed == 2 + 2 + 2 + 2 + 1


class _Killed(BaseException):
    pass


class _Kill:
    """A function that ends by `_Killed` at its nth call, before or after its work."""

    def __init__(self, function, nth, after):
        self._function, self._nth, self._after = function, nth, after
        self._calls = 0

    def __call__(self, *arguments, **named):
        kills = self._calls == self._nth
        self._calls += 1
        if kills and not self._after:
            raise _Killed
        result = self._function(*arguments, **named)
        if kills:
            raise _Killed
        return result


def test_a_killed_reading_keeps_the_shards_that_it_has_finished(make, tmp_path, monkeypatch):
    rows = "".join(json.dumps({"text": f"number {n} " * 5}) + "\n" for n in range(100))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((rows + "{oops\n").encode(), mtime=0))
    for module in (run, worker):
        monkeypatch.setattr(module, "MEGABYTE", 1)
    expected = hashes(make(tmp_path / "a.jsonl.gz", "x/out", shard_mb=1000)[1])
    before, calls = Worker._read_shard, []

    def killed(self, path, located):
        if len(calls) == 2:
            calls.append(path)
            raise _Killed
        calls.append(path)
        before(self, path, located)

    monkeypatch.setattr(Worker, "_read_shard", killed)
    with pytest.raises(_Killed):
        make(tmp_path / "a.jsonl.gz", shard_mb=1000)
    calls[:] = [None] * 3
    summary, folder = make(tmp_path / "a.jsonl.gz", shard_mb=1000)
    assert calls[3].name == "00000-00002"
    assert (summary["records"], summary["quarantined"]) == (100, 1)
    assert hashes(folder) == expected


def test_two_tasks_at_work_on_one_shard_spoil_nothing(make, tmp_path, monkeypatch):
    """As on a cluster, where the tasks of a killed run may go on beside those of the next."""
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{oops\n{"text": "two"}\n')
    config = {"steps": "twelve", "validation": 0.5, "on_bad_record": "quarantine"}
    expected = hashes(make(tmp_path / "a.jsonl", "x/out", **config)[1])
    for method in ("_located", "_refined"):
        before, inner = getattr(Worker, method), []

        def interrupted(self, *arguments, before=before, inner=inner):
            yielded = before(self, *arguments)
            yield next(yielded)
            if not inner:
                inner.append(None)
                other = Worker(self._config, self._work)
                if before.__name__ == "_located":
                    other.read(0)
                else:
                    other.write(*arguments[:2], 0)
            yield from yielded

        monkeypatch.setattr(Worker, method, interrupted)
        _, folder = make(tmp_path / "a.jsonl", f"{method}/out", **config)
        monkeypatch.setattr(Worker, method, before)
        assert inner
        assert hashes(folder) == expected, method


def test_a_change_of_the_input_is_found_when_a_killed_run_goes_on(make, tmp_path, monkeypatch):
    names = write_corpus(tmp_path)
    monkeypatch.setattr(Worker, "write", _Kill(Worker.write, 0, False))
    with pytest.raises(_Killed):
        make(names)
    (tmp_path / "a.txt").write_text("Another text.")
    with pytest.raises(UserError, match=r"a\.txt: has changed since .* was begun"):
        make(names)
