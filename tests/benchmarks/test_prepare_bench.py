"""What `launch.bench prepare` makes and concludes; `tests/slow` measures with it."""

import json

import pytest

from benchmarks.drawn_corpus import drawn_corpus
from benchmarks.prepare import estimates
from vcjax.core.errors import UserError

CHINESE = "苹果梨桃李杏枣柿橘柚樱梅瓜豆麦"


def write_source(folder):
    """Enough different sentences of both languages, as text and as JSON."""
    folder.mkdir()
    english = [f"The farmer has {n} apples and {n + 7} pears in the barn." for n in range(300)]
    chinese = [
        f"农夫在谷仓里有很多{CHINESE[n % 15]}和{CHINESE[n // 15 % 15]}，{n}个。" for n in range(300)
    ]
    (folder / "a.txt").write_text("\n".join(english))
    (folder / "b.json").write_text(json.dumps([{"said": ["".join(chinese)]}]))
    return folder


def texts(corpus):
    rows = [json.loads(line) for file in corpus.files for line in file.read_text().splitlines()]
    return {row["id"]: row["text"] for row in rows}


def test_a_corpus_is_drawn_of_the_sentences_of_a_folder_and_stays(tmp_path):
    source = write_source(tmp_path / "source")
    corpus = drawn_corpus(source, tmp_path / "corpus", 0.4)
    found = texts(corpus)
    assert len(corpus.files) == 8
    assert 0.4e6 <= sum(len(text.encode()) for text in found.values()) < 0.5e6
    assert 0.4 < sum(text.isascii() for text in found.values()) / len(found) < 0.6
    near = corpus.planted
    assert 0 < len(near) <= 0.12 * len(found)
    assert set(near) <= set(found)
    assert min(near.values()) > 0.7
    before = {file: file.stat().st_mtime_ns for file in corpus.files}
    again = drawn_corpus(source, tmp_path / "corpus", 0.4)
    assert again == corpus
    assert {file: file.stat().st_mtime_ns for file in corpus.files} == before
    longer = drawn_corpus(source, tmp_path / "corpus", 0.4, count=9)
    assert longer.files[:8] == corpus.files
    assert {file: file.stat().st_mtime_ns for file in corpus.files} == before
    assert near.items() < longer.planted.items()
    assert texts(drawn_corpus(source, tmp_path / "other", 0.4, seed=1)) != found


def test_a_folder_without_sentences_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("Nothing.")
    with pytest.raises(UserError, match=r"different sentences in en, which are too few"):
        drawn_corpus(tmp_path, tmp_path / "corpus", 1)


def test_a_larger_corpus_takes_what_shards_and_one_process_take():
    small = {"megabytes": 50.0, "rounds": {"read": 30.0, "write": 20.0}, "alone_seconds": 6.0}
    large = {"megabytes": 100.0, "rounds": {"read": 60.0, "write": 40.0}, "alone_seconds": 10.0}
    runs = [{**run, "start_seconds": 5.0} for run in (small, large)]
    found = estimates(runs, 0.9, 2, megabytes=6400.0, cores=64)
    alone = 10 + 0.08 * 6300  # seconds a megabyte, by the difference of the two
    assert found["of which by one process"] == pytest.approx(alone / 3600)
    assert found["hours on 2 cores"] == pytest.approx((6400 + alone) / 3600)
    assert found["hours on 64 cores"] == pytest.approx((200 + alone) / 3600)
    assert found["hours on an array of 100 tasks"] == pytest.approx((128 + 10 + alone) / 3600)
    # Deduplication that costs more than in proportion isn't divided among cores.
    steeper = estimates(runs, 1.5, 2, megabytes=6400.0)
    assert steeper["of which by one process"] == pytest.approx(alone * 64**0.5 / 3600)
