"""Small corpora, steps that change and take out their documents, and what is made of them."""

import hashlib
import json
from dataclasses import dataclass, replace

import pytest

from vcjax.core.lineage import Parent
from vcjax.data.corpus import config as registry
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.document import Removal
from vcjax.data.corpus.run import prepare_corpus
from vcjax.data.corpus.step import Decision
from vcjax.data.prepared import open_prepared
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
