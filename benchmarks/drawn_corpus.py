"""A corpus of any size that reads like its sources: sentences of a folder of texts, drawn anew."""

import csv
import json
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vcjax.charter.load import load_charter
from vcjax.charter.topics import HeldOutTopics
from vcjax.core.errors import UserError
from vcjax.core.files import read_json, replaced, write_json
from vcjax.core.seeds import derive_seed
from vcjax.data.corpus.language import language_of
from vcjax.text.grams import jaccard_of_grams, text_grams
from vcjax.text.language import Language
from vcjax.text.units import sentences

FILES = 8
"""Of a corpus; the first 1, 2 and 4 of them are smaller corpora."""
MADE = "made.json"
NEAR_SHARE = 0.08
"""Of the documents, which are near-duplicates."""
_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_LENGTHS = {"en": (30, 400), "zh": (10, 200)}
"""Characters of a sentence that is drawn."""
_SENTENCES = 8, 60
"""Of a document, least and most; a paragraph has up to `_PARAGRAPH`."""
_PARAGRAPH = 6
_LEAST_POOL = 200
_N = 5
"""Words or characters of an n-gram."""


@dataclass(frozen=True)
class DrawnCorpus:
    """Where a corpus is.

    Attributes:
      files: JSONL, of about the same size.
      planted: by id, the documents that nearly duplicate one before them in their file, and the
        Jaccard similarity of their n-grams.
    """

    files: list[Path]
    planted: dict[str, float]


def drawn_corpus(
    source: Path, folder: Path, megabytes: float, seed: int = 0, count: int = FILES
) -> DrawnCorpus:
    """Makes a corpus of `count` files, `FILES` of which have `megabytes` (10^6 bytes each) of text.

    Files that were made before stay: more of them make a larger corpus that begins with the same.
    Half of the documents are English and half Chinese. Sentences that the charter holds out aren't
    drawn: their documents wouldn't reach the later steps.

    Args:
      source: a folder whose texts, and those in its JSON(L) and CSV, have the sentences.

    Raises:
      UserError: a folder with too few sentences.
    """
    made = {"source": str(source), "megabytes": megabytes, "seed": seed}
    if not (folder / MADE).is_file() or read_json(folder / MADE) != made:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(folder / MADE, made)
    files = [folder / f"{number}.jsonl" for number in range(count)]
    missing = [
        number
        for number, file in enumerate(files)
        if not (file.is_file() and _planted(file).is_file())
    ]
    for number in tqdm(missing, "drawing sentences", unit="file"):
        rng = random.Random(derive_seed(seed, "corpus", number))
        _write(files[number], _pools(source), megabytes / FILES * 1e6, f"{number}.", rng)
    planted = {}
    for file in files:
        lines = _planted(file).read_text().splitlines()
        planted.update(json.loads(line) for line in lines)
    return DrawnCorpus(files, planted)


def _planted(file: Path) -> Path:
    """Beside a file: ids and similarities of what was planted in it."""
    return file.with_suffix(".planted")


def _write(
    file: Path, pools: dict[str, list[str]], size: float, prefix: str, rng: random.Random
) -> None:
    """Writes a file of documents, and before it takes its name what was planted in it."""
    latest = ""
    with (
        replaced(file) as temporary,
        temporary.open("w", encoding="utf-8") as stream,
        replaced(_planted(file)) as beside,
        beside.open("w", encoding="utf-8") as planted,
    ):
        written = number = 0
        while written < size:
            id = f"{prefix}{number}"
            if latest and rng.random() < NEAR_SHARE:
                text = _changed(latest, rng)
                print(json.dumps([id, _similarity(latest, text)]), file=planted)
            else:
                text = latest = _drawn(pools[_LANGUAGES[number % 2]], rng)
            print(json.dumps({"id": id, "text": text}, ensure_ascii=False), file=stream)
            written, number = written + len(text.encode()), number + 1


def _drawn(pool: list[str], rng: random.Random) -> str:
    found = rng.choices(pool, k=rng.randint(*_SENTENCES))
    space = " " if found[0].isascii() else ""
    paragraphs = []
    while found:
        count = rng.randint(1, _PARAGRAPH)
        paragraphs.append(space.join(found[:count]))
        del found[:count]
    return "\n".join(paragraphs)


def _changed(text: str, rng: random.Random) -> str:
    """The text without one word, or a few characters, in a hundred."""
    space = " " if " " in text else ""
    parts = text.split(" ") if space else list(text)
    count = max(1, len(parts) // 100)
    start = rng.randrange(len(parts) - count)
    return space.join(parts[:start] + parts[start + count :])


def _similarity(a: str, b: str) -> float:
    return round(jaccard_of_grams(text_grams(a, _N), text_grams(b, _N)), 4)


# --- sentences -----------------------------------------------------------------------------------


@cache
def _pools(source: Path) -> dict[str, list[str]]:
    """The different sentences of each language below a folder, sorted."""
    topics = HeldOutTopics(load_charter("universal"))
    pools: dict[str, set[str]] = {lang: set() for lang in _LANGUAGES}
    files = [path for path in sorted(source.rglob("*")) if path.suffix in _READERS]
    for path in tqdm(files, "reading sentences", unit="file"):
        for text in _READERS[path.suffix](path):
            lang, _ = language_of(text)
            if lang not in pools:
                continue
            least, most = _LENGTHS[lang]
            pools[lang] |= {
                sentence
                for sentence in sentences(text, "zh" if lang == "zh" else "en")
                if least <= len(sentence) <= most and topics.subdomain_of(sentence) is None
            }
    for lang, pool in pools.items():
        if len(pool) < _LEAST_POOL:
            raise UserError(
                f"{source}: has {len(pool)} different sentences in {lang}, which are too few"
            )
        print(f"{len(pool):,} sentences in {lang}", file=sys.stderr, flush=True)
    return {lang: sorted(pool) for lang, pool in pools.items()}


def _text(path: Path) -> Iterator[str]:
    yield from path.read_text(errors="ignore").splitlines()


def _json(path: Path) -> Iterator[str]:
    text = path.read_text()
    try:
        yield from _strings(json.loads(text))
    except json.JSONDecodeError:  # lines under another name
        for line in text.split("\n"):
            if line.strip():
                yield from _strings(json.loads(line))


def _csv(path: Path) -> Iterator[str]:
    with path.open(newline="", errors="ignore") as stream:
        for row in csv.reader(stream):
            yield from row


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


_READERS = {".txt": _text, ".json": _json, ".jsonl": _json, ".csv": _csv}
