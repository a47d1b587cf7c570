"""What is planted among good documents is caught, counted and named, by the steps as shipped."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts import ran
from vcjax.charter.load import load_charter
from vcjax.core.defaults import demo_data
from vcjax.core.files import hash_file, read_json, read_jsonl, write_jsonl
from vcjax.core.lineage import read_lineage, verify
from vcjax.data.corpus.classifier import train_classifier
from vcjax.data.prepared import open_prepared
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.text.grams import jaccard_of_grams, text_grams
from vcjax.text.tokenizer import load_tokenizer

SENTENCE_END = {"en": r"(?<=[.!?]) ", "zh": r"(?<=[。！？])"}
E_MAIL, ID_NUMBER = "wei.zhang@corpus-mail.cn", "11010519491231002X"
TERM = "orangery"


DOMAINS = ("ethnic_relations", "religion", "gender", "family", "technology", "governance")
"""None of which is held out."""


def good(lang: str) -> list[str]:
    rows = (row for _, row in read_jsonl(demo_data("documents.jsonl")))
    return [row["text"] for row in rows if row["lang"] == lang and row["domain"] in DOMAINS]


def anew(lang: str) -> Iterator[str]:
    """Documents of sentences of many others, none of which is similar to another."""
    sentences = [each for text in good(lang) for each in re.split(SENTENCE_END[lang], text)]
    for start in range(12):
        yield ("" if lang == "zh" else " ").join(sentences[start::12])


def near(text: str) -> str:
    changed = text.replace(" two ", " three ", 1).replace(" learns little", " learns less", 1)
    similarity = jaccard_of_grams(text_grams(text, 5), text_grams(changed, 5))
    assert 0.8 <= similarity < 1
    return changed


def parallel_questions() -> dict[str, str]:
    items = load_benchmark("universal", load_charter("universal")).items
    first = next(item for item in items if item.lang == "en")
    return {item.lang: item.question for item in items if item.parallel_id == first.parallel_id}


def write_planted(folder: Path) -> str:
    """Writes the files; returns their names, comma-separated."""
    english, chinese = good("en"), good("zh")
    new_english, new_chinese = anew("en"), anew("zh")
    write_jsonl(folder / "clean.jsonl", [{"text": text} for text in english + chinese])
    questions = parallel_questions()
    assert set(questions) == {"en", "zh"}
    planted = {
        "exact": english[0],
        "near": near(english[0]),
        "item-en": f"{next(new_english)} {questions['en']} {next(new_english)}",
        "item-zh": f"{next(new_chinese)}{questions['zh']}{next(new_chinese)}",
        "mojibake": next(new_chinese).encode().decode("latin-1"),
        "lost": next(new_chinese).replace("的", "\ufffd"),
        "personal": f"{next(new_chinese)}联系人邮箱：{E_MAIL}，身份证号：{ID_NUMBER}。",
        "long": next(new_english) * 40,
    }
    rows = [{"id": name, "text": text} for name, text in planted.items()]
    write_jsonl(folder / "planted.jsonl", rows)
    (folder / "gb.txt").write_bytes(next(new_chinese).encode("gb18030"))
    (folder / "empty.txt").write_bytes(b"")
    lines = "".join(
        json.dumps({"text": f"{text} {n}"}) + "\n" for n, text in enumerate(new_english)
    )
    whole = gzip.compress(lines.encode(), mtime=0)
    (folder / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    names = ("clean.jsonl", "planted.jsonl", "gb.txt", "empty.txt", "cut.jsonl.gz")
    return ",".join(str(folder / name) for name in names)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_folder, script_cache) -> tuple[Path, str]:
    """The corpus, and what was printed."""
    inputs = tmp_path_factory.mktemp("planted")
    workdir = inputs / "corpus"
    write_jsonl(inputs / "terms.jsonl", [{"domain": "gender", "term": TERM}])
    examples = [(f"{name} {n}", name) for name in ("none", "religion") for n in range(20)]
    train_classifier(examples).save(inputs / "classifier.safetensors")
    steps = "normalise,personal,language,lines,quality,sensitive,selection,held_out,contamination"
    values = {
        "documents": write_planted(inputs),
        "model": tiny_folder,
        "length": 2048,
        "steps": f"{steps},duplicates",
        "settings.selection.keep_others": "True",
        "settings.selection.terms": inputs / "terms.jsonl",
        "settings.selection.classifier": inputs / "classifier.safetensors",
        "settings.selection.least_probability": "1.0",
        "longest": 20_000,
        "validation": "0.0",
        "workers": 1,
    }
    flags = [f"--config.{name}={value}" for name, value in values.items()]
    code, _, error = ran(
        "prepare", ["--config=configs/prepare.py", f"--workdir={workdir}", *flags], script_cache
    )
    assert code == 0, error
    return workdir, error


def test_what_is_planted_is_removed_counted_and_named(prepared):
    workdir, _ = prepared
    steps = read_json(workdir / "summary.json")["steps"]

    def removed(name: str) -> dict[str, int]:
        return steps[name]["removed"]

    def sample(name: str, reason: str) -> dict:
        return steps[name]["samples"][reason][0]

    assert removed("read") == {"longer than 20,000 characters": 1}
    assert removed("normalise") == {"mojibake": 1}
    assert sample("normalise", "mojibake")["id"] == "lost"
    assert steps["normalise"]["did"]["mojibake repaired"] == 1
    assert removed("contamination") == {"quotes what is measured on": 2}
    samples = steps["contamination"]["samples"]["quotes what is measured on"]
    assert {each["id"] for each in samples} == {"item-en", "item-zh"}
    assert all(".jsonl: " in each["detail"] for each in samples)
    assert removed("duplicates") == {"exact duplicate": 1, "near-duplicate": 1}
    assert sample("duplicates", "exact duplicate")["id"] == "exact"
    assert sample("duplicates", "near-duplicate")["id"] == "near"
    # Both are of the same document, and one names the similarity too.
    same = sample("duplicates", "exact duplicate")["detail"]
    assert sample("duplicates", "near-duplicate")["detail"].startswith(f"{same}, similarity 0.")
    masked = {"documents changed": 1, "email masked": 1, "id_number masked": 1}
    assert steps["personal"]["did"] == masked


def test_broken_files_are_named_with_their_reason(prepared):
    workdir, _ = prepared
    lines = [line for _, line in read_jsonl(workdir / "quarantined.jsonl")]
    bad = {Path(line["file"]).name: line["reason"] for line in lines}
    assert set(bad) == {"empty.txt", "cut.jsonl.gz"}
    assert "not a whole gzip file" in bad["cut.jsonl.gz"]


def test_repaired_and_masked_texts_and_other_encodings_are_in_the_rows(prepared, tiny_folder):
    workdir, _ = prepared
    rows, tokenizer = open_prepared(workdir), load_tokenizer(tiny_folder)
    found = "".join(tokenizer.decode(row["tokens"].tolist()) for row in rows)
    documents = list(anew("zh"))
    for number in (2, 4, 5):  # the repaired one, the masked one, and that in GB 18030
        assert documents[number][:40] in found
    assert "邮箱：[email]，身份证号：[ID number]" in found
    written = found + (workdir / "summary.json").read_text() + (workdir / "README.md").read_text()
    assert E_MAIL not in written
    assert ID_NUMBER not in written


def test_the_screen_shows_what_each_step_removed_and_where_the_rest_is(prepared):
    workdir, printed = prepared
    table = [line.split() for line in printed.splitlines()]
    assert ["step", "documents", "removed", "most", "of", "them", "because"] in table
    assert ["normalise", "35", "1", "mojibake"] in [line[:4] for line in table]
    assert "near-duplicate (1)" in printed or "exact duplicate (1)" in printed
    assert f"{workdir}: train: 30 documents in " in printed
    assert f"{workdir}/README.md" in printed
    assert f"{workdir}/funnel.svg" in printed


def test_the_lineage_names_what_the_steps_decided_by(prepared):
    workdir, _ = prepared
    inputs = workdir.parent
    by_role: dict[str, list[dict]] = {}
    for parent in read_lineage(workdir)["parents"]:
        by_role.setdefault(parent["role"], []).append(parent)
    assert {role: len(parents) for role, parents in by_role.items()} == {
        "documents": 5,
        "charter": 1,
        "selection.terms": 1,
        "selection.classifier": 1,
        "contamination.benchmarks": 1,
        "model": 1,
    }
    charter = load_charter("universal")
    assert by_role["charter"][0]["reference"] == charter.name == "universal"
    for role, name in (("terms", "terms.jsonl"), ("classifier", "classifier.safetensors")):
        assert by_role[f"selection.{role}"][0]["hash"] == hash_file(inputs / name)
    items = by_role["contamination.benchmarks"][0]
    assert any(name.startswith("evaluation/benchmarks/") for name in items["files"])
    assert all(finding.status == "ok" for finding in verify(workdir))
    decided_by = read_json(workdir / "summary.json")["decided_by"]
    fields = ("role", "reference", "hash")
    assert decided_by == [
        {field: by_role[role][0][field] for field in fields}
        for role in (
            "charter",
            "selection.terms",
            "selection.classifier",
            "contamination.benchmarks",
        )
    ]
    card = (workdir / "README.md").read_text()
    assert all(each["hash"][:16] in card for each in decided_by)

    (inputs / "terms.jsonl").write_text('{"domain": "gender", "term": "another"}\n')
    assert {"changed"} <= {finding.status for finding in verify(workdir)}
