"""A corpus from raw files to rows: what is read, taken out, counted and split; and kills."""

import gzip
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
import tensorflow_datasets as tfds

from vcjax.core.errors import UserError
from vcjax.core.lineage import Parent, verify
from vcjax.data.corpus import config as registry
from vcjax.data.corpus import run, shards, worker
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.document import Removal
from vcjax.data.corpus.pipeline import rounds_of
from vcjax.data.corpus.run import prepare_corpus
from vcjax.data.corpus.step import Decision
from vcjax.data.corpus.worker import Worker
from vcjax.data.files import find_files
from vcjax.data.prepared import VALIDATION, open_prepared
from vcjax.text.tokenizer import load_tokenizer


@dataclass(frozen=True)
class NoSettings:
    """A step without a choice."""


class Shout:
    """Changes texts, and takes some out."""

    name, changes, Settings = "shout", True, NoSettings

    def __init__(self, settings: NoSettings):
        pass

    def apply(self, document, counts):
        if "quiet" in document.text:
            return Removal(self.name, "quiet", document, "says so")
        counts["shouted"] += 1
        return replace(document, text=document.text.upper())


class First:
    """Takes out each text but the first of those that begin alike."""

    Settings = NoSettings
    letters = 0

    def __init__(self, settings: NoSettings):
        pass

    def observe(self, document):
        return document.text[: self.letters].encode()

    def decide(self, observed, text_of, counts):
        seen = {}
        for each in observed:
            if each.evidence in seen:
                assert text_of(each.number)[: self.letters].encode() == each.evidence
                yield Decision(each.number, "begins alike", str(seen[each.evidence]))
            seen.setdefault(each.evidence, each.number)
        counts["different"] += len(seen)


class FirstOfTwelve(First):
    name, letters = "twelve", 12


class FirstOfEleven(First):
    name, letters = "eleven", 11


@pytest.fixture(autouse=True)
def steps(monkeypatch):
    own = {step.name: step for step in (Shout, FirstOfTwelve, FirstOfEleven)}
    monkeypatch.setattr(registry, "STEPS", own)


@pytest.fixture
def make(tiny_folder, tmp_path):
    """Prepares files in one process; returns the summary and the folder."""

    def prepare(names, folder="out", **changes):
        values = {"documents": str(names), "model": str(tiny_folder), "length": 32, "workers": 1}
        values = {"steps": "", "validation": 0.0, **values, **changes}
        config = PrepareConfig.from_dict(values)
        model = Parent.of("model", tiny_folder)
        tokenizer = load_tokenizer(tiny_folder)
        return prepare_corpus(config, tmp_path / folder, tokenizer, model), tmp_path / folder

    return prepare


def rows_text(folder, tiny_folder, split="train"):
    prepared, tokenizer = open_prepared(folder, split), load_tokenizer(tiny_folder)
    return "".join(tokenizer.decode(prepared[n]["tokens"].tolist()) for n in range(len(prepared)))


def hashes(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    own = ("lineage.json", ".lock")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in own
    }


def write_corpus(tmp_path, count=60):
    lines = [
        f"{'quiet ' * (n % 7 == 0)}document {n // 2:03} of the corpus {n}" for n in range(count)
    ]
    (tmp_path / "a.txt").write_text("\n".join(lines[: count // 2]))
    rows = [json.dumps({"text": line, "source": "b"}) + "\n" for line in lines[count // 2 :]]
    (tmp_path / "b.jsonl").write_text("".join(rows))
    return f"{tmp_path}/a.txt,{tmp_path}/b.jsonl"


def test_steps_are_done_in_rounds_that_passes_end():
    def kinds(*names):
        made: list[Any] = [registry.STEPS[name](NoSettings()) for name in names]
        return [(each.steps, each.passes) for each in rounds_of(made)]

    assert kinds() == [((), ()), ((), ())]
    assert kinds("shout") == [(("shout",), ()), ((), ())]
    assert kinds("twelve", "eleven", "shout") == [((), ("twelve", "eleven")), (("shout",), ())]
    assert kinds("twelve", "shout", "eleven") == [
        ((), ("twelve",)),
        (("shout",), ("eleven",)),
        ((), ()),
    ]


def test_every_document_is_read_counted_and_in_a_row(make, tmp_path, tiny_folder):
    names = write_corpus(tmp_path)
    summary, folder = make(names, steps="shout,twelve,eleven")
    said = summary["steps"]
    assert said["read"]["documents"] == summary["records"] == 60
    assert said["shout"]["removed"] == {"quiet": 9}
    assert said["shout"]["did"] == {"shouted": 51}
    # Two documents share each number, of those that aren't quiet; then ten share eleven letters.
    assert said["twelve"]["documents"] == 51
    assert said["twelve"]["removed"] == {"begins alike": 21}
    assert said["twelve"]["did"] == {"different": 30}
    assert said["eleven"]["documents"] == 30
    assert said["eleven"]["removed"] == {"begins alike": 27}
    assert said["encode"]["documents"] == summary["documents"] == summary["examples"] == 3
    sample = said["shout"]["samples"]["quiet"][0]
    assert "quiet document" in sample["text"]
    assert sample["detail"] == "says so"
    assert len(said["twelve"]["samples"]["begins alike"]) == 3
    found = rows_text(folder, tiny_folder)
    assert all(f"DOCUMENT {n:03} OF THE CORPUS" in found for n in (0, 10, 20))
    assert summary["sources"] == {"a": 2, "b": 1}
    assert summary["tokens"] == sum(summary["tokens_by_source"].values())
    assert all(finding.status == "ok" for finding in verify(folder))
    card = (folder / "README.md").read_text()
    assert "| begins alike | 21 |" in card
    assert "funnel.svg" in card
    assert not (folder / ".work").exists()
    builder: Any = tfds.builder_from_directory(str(folder))
    assert len(builder.as_data_source("train")) == summary["rows"]


def test_a_finished_corpus_is_not_made_again(make, tmp_path, capsys):
    summary, folder = make(write_corpus(tmp_path))
    (folder / run.WORK / "0").mkdir(parents=True)  # as a kill after the end leaves it
    again, _ = make(write_corpus(tmp_path), workers=2, memory_mb=100)
    assert again == json.loads(json.dumps(summary))
    assert not (folder / run.WORK).exists()
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"another config \(steps: '' -> 'shout'\)"):
        make(write_corpus(tmp_path), steps="shout")


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


def test_what_is_broken_is_set_aside_with_its_file_and_line(make, tmp_path, tiny_folder):
    chinese = "人人生而自由,在尊严和权利上一律平等。"
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "One."}\n{"text": oops}\n{"text": "\xff"}\n')
    (tmp_path / "b.txt").write_bytes(f"{chinese}\n{chinese[:9]}\n".encode("gb18030"))
    (tmp_path / "c.txt").write_bytes(f"{chinese[3:]}\nWide.\n".encode("utf-16"))
    (tmp_path / "d.jsonl").write_bytes(b"")
    whole = gzip.compress(b"".join(b'{"text": "Line %d."}\n' % n for n in range(5000)), mtime=0)
    (tmp_path / "e.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "f.parquet").write_bytes(b"no table")
    (tmp_path / "g.jsonl").write_text('{"nothing": "of ours"}\n' * 200)
    names = ",".join(str(path) for path in sorted(tmp_path.glob("[a-g].*")))
    summary, folder = make(names, length=128)
    lines = (folder / "quarantined.jsonl").read_text().splitlines()
    bad = [json.loads(line) for line in lines]
    assert [(each["file"][-len("a.jsonl") :], each["line"]) for each in bad[:2]] == [
        ("a.jsonl", 2),
        ("a.jsonl", 3),
    ]
    reasons = {each["file"].rpartition("/")[2]: each["reason"] for each in bad[2:]}
    assert set(reasons) == {"d.jsonl", "e.jsonl.gz", "f.parquet", "g.jsonl"}
    assert "nothing but blank lines" in reasons["d.jsonl"]
    assert "not a whole gzip file" in reasons["e.jsonl.gz"]
    assert "not a Parquet file" in reasons["f.parquet"]
    assert "no known layout" in reasons["g.jsonl"]
    assert (summary["quarantined"], summary["broken_files"]) == (2, 4)
    assert summary["sources"]["e"] > 1000  # what came before the end
    assert (summary["sources"]["b"], summary["sources"]["c"]) == (2, 2)
    found = rows_text(folder, tiny_folder)
    assert all(text in found for text in (chinese, "Wide."))
    with pytest.raises(UserError, match=r"a\.jsonl:2: not JSON"):
        make(names, "strict", on_bad_record="error")


def test_a_document_stays_in_its_split_whatever_is_beside_it(make, tmp_path, tiny_folder):
    names = write_corpus(tmp_path, 200)
    summary, folder = make(names, validation=0.25)
    assert summary["documents"] + summary["validation"]["documents"] == 200
    assert 25 <= summary["validation"]["documents"] <= 75
    validation = rows_text(folder, tiny_folder, VALIDATION)
    # Without its first documents, and in other words.
    (tmp_path / "a.txt").write_text("\n".join((tmp_path / "a.txt").read_text().split("\n")[50:]))
    _, fewer = make(names, "fewer", validation=0.25, steps="shout")
    found = rows_text(fewer, tiny_folder, VALIDATION)
    marks = [f"CORPUS {n}" for n in range(50, 200) if f"CORPUS {n}" in found]
    assert marks
    assert all(mark.lower() in validation for mark in marks)
    with pytest.raises(UserError, match="has no split 'validation'; it has train"):
        open_prepared(make(names, "none")[1], VALIDATION)


def test_a_document_that_is_too_long_is_taken_out_and_counted(make, tmp_path):
    (tmp_path / "a.txt").write_text("short\n" + "long " * 100)
    summary, _ = make(tmp_path / "a.txt", longest=100)
    assert summary["steps"]["read"]["removed"] == {"longer than 100 characters": 1}
    with pytest.raises(UserError, match=r"no document is left .*read \(removed 2\)"):
        make(tmp_path / "a.txt", "none", longest=3)


def test_conversations_pass_steps_message_by_message(make, tmp_path, tiny_folder):
    turns = [{"role": "user", "content": "why not"}, {"role": "assistant", "content": "so it is"}]
    quiet = [turns[0], {"role": "assistant", "content": "quiet please"}]
    rows = [{"messages": messages} for messages in (turns, quiet, turns)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary, folder = make("", conversations=str(tmp_path / "a.jsonl"), steps="shout,twelve")
    assert (summary["kind"], summary["documents"]) == ("conversations", 1)
    assert summary["steps"]["shout"]["removed"] == {"quiet": 1}
    assert summary["steps"]["twelve"]["removed"] == {"begins alike": 1}
    found = rows_text(folder, tiny_folder)
    assert all(text in found for text in ("WHY NOT", "SO IT IS", "user"))


def test_preferences_have_a_row_each(make, tmp_path):
    row = {"messages": [{"role": "user", "content": "why"}], "chosen": "yes", "rejected": "no"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    summary, folder = make("", preferences=str(tmp_path / "a.jsonl"), steps="shout")
    assert (summary["rows"], summary["languages"]) == (1, {"en": 1})
    assert open_prepared(folder)[0]["tokens"].shape == (2, 32)


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
def test_a_file_is_cut_at_its_lines_and_each_line_keeps_its_number(tmp_path, size):
    lines = [f"line {n} " + "x" * (n % 5) for n in range(20)]
    path = tmp_path / "a.txt"
    for text in ("\n".join(lines), "\n".join(lines) + "\n"):
        path.write_text(text)
        units = shards.plan_units(find_files(path), size, "documents")
        assert len(units) > 1 or size == 1000
        found = [item for (file,) in units for item in shards_items(file)]
        assert found == [(n, line.strip()) for n, line in enumerate(lines, start=1)]


def shards_items(file):
    from vcjax.data.readers import read_items

    return [(item.number, item.value["text"]) for item in read_items(file)]


def test_small_files_share_a_unit_and_whole_forms_are_not_cut(tmp_path):
    for n in range(5):
        (tmp_path / f"{n}.txt").write_text("four")
    (tmp_path / "5.json").write_text(json.dumps([{"text": "x" * 50}]))
    (tmp_path / "6.txt").write_bytes("wide\n".encode("utf-16") * 5)
    units = shards.plan_units(find_files(tmp_path), 8, "documents")
    assert [len(unit) for unit in units] == [2, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": "shuot"}, "config.steps: 'shuot' is none of .*did you mean 'shout'"),
        ({"steps": "shout,shout"}, "'shout' is named twice"),
        ({"settings": {"shout": {"loud": True}}, "steps": "shout"}, "settings.shout.loud: unknown"),
        ({"settings": {"shuot": {}}}, "settings.shuot: no such step; did you mean 'shout'"),
        ({"conversations": "a.jsonl"}, "documents and conversations have files; name those of one"),
        ({"documents": ""}, "none of them has files"),
        ({"validation": 1.0}, "config.validation must be 0 or more and below 1"),
        ({"shard_mb": 0}, "config.shard_mb must be at least 1"),
        ({"length": 1}, "length: 1 is too short"),
        ({"slurm": {"dry_run": True}}, "config.slurm.dry_run: needs config.executor 'slurm'"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(changes, message):
    values = {"documents": "a.txt", "model": "m", "length": 32, "steps": "", **changes}
    with pytest.raises(UserError, match=message):
        PrepareConfig.from_dict(values)
