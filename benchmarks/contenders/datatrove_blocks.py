"""datatrove's blocks on a file of documents, in an interpreter that has datatrove and no vcjax.

    python datatrove_blocks.py DOCUMENTS STEP FOLDER TOKENIZER    -> one line of JSON

DOCUMENTS are JSON lines with `id`, `text` and `lang` (`en` or `zh`); STEP is one of ours, and the
blocks are those that do the same. What is timed is the blocks: the documents are in memory before.
For `read` DOCUMENTS is a folder of such files, without `lang`, and what is timed is reading them
and writing the documents as the next stage of a pipeline reads them: compressed, by default.
`encode` tokenises, shuffles and merges, as datatrove makes the files that a training run reads.
Both are repeated, and the fastest counts.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILES = "[0-9]*.jsonl"
REPEATS = 3
LANGUAGES = {"en": "eng_Latn", "zh": "cmn_Hani"}


def normalise(language: str) -> list[Any]:
    from datatrove.pipeline.formatters import FTFYFormatter

    return [FTFYFormatter()]


def personal(language: str) -> list[Any]:
    from datatrove.pipeline.formatters import PIIFormatter

    return [PIIFormatter()]


def lines(language: str) -> list[Any]:
    from datatrove.pipeline.filters import C4QualityFilter

    return [C4QualityFilter(language=language)]


def quality(language: str) -> list[Any]:
    from datatrove.pipeline.filters import (
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    # The words that Gopher asks for are English; its lengths of words are of English, too.
    own = {} if language == LANGUAGES["en"] else {"min_stop_words": None, "min_avg_word_length": 1}
    return [
        GopherRepetitionFilter(language=language),
        GopherQualityFilter(language=language, **own),
        FineWebQualityFilter(language=language),
    ]


BY_DOCUMENT: dict[str, Callable[[str], list[Any]]] = {
    "normalise": normalise,
    "personal": personal,
    "lines": lines,
    "quality": quality,
}


ENGLISH = ("lines",)
"""Steps whose block takes out any Chinese: C4's lines end with an English mark."""


def run_blocks(step: str, documents: list[Any], language: str) -> int:
    """Each block by itself on all documents, so that none is faster for what another removed."""
    left = len(documents)
    for block in BY_DOCUMENT[step](language):
        left = min(left, sum(1 for _ in block.run(iter(documents), 0, 1)))
    return left


def run_minhash(documents: list[Any], language: str, folder: Path) -> int:
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig()
    signatures, buckets, removed = (
        str(folder / language / name) for name in ("signatures", "buckets", "removed")
    )
    MinhashDedupSignature(signatures, config, language).run(iter(documents), 0, 1)
    found = MinhashDedupBuckets(signatures, buckets, config=config)
    for rank in range(config.num_buckets):
        found.run(None, rank, config.num_buckets)
    MinhashDedupCluster(buckets, removed, config).run(None, 0, 1)
    return sum(1 for _ in MinhashDedupFilter(removed).run(iter(documents), 0, 1))


def run_tokenizer(documents: list[Any], folder: Path, tokenizer: str) -> int:
    from datatrove.pipeline.tokens import DocumentTokenizer, DocumentTokenizerMerger

    tokens = str(folder / "tokens")
    DocumentTokenizer(tokens, tokenizer).run(iter(documents), 0, 1)
    DocumentTokenizerMerger(tokens, str(folder / "merged"), "tokens").run(None, 0, 1)
    return len(documents)


def run_reader(path: Path, folder: Path) -> int:
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    documents = JsonlReader(str(path), glob_pattern=FILES).run(None, 0, 1)
    return sum(1 for _ in JsonlWriter(str(folder / "documents")).run(documents, 0, 1))


def measure_reader(path: Path, folder: Path) -> dict[str, Any]:
    few = folder / "few"
    few.mkdir(parents=True)
    files = sorted(path.glob(FILES))
    with files[0].open(encoding="utf-8") as stream:
        (few / files[0].name).write_text(stream.readline(), encoding="utf-8")
    run_reader(few, folder / "first")
    left, seconds = fastest(lambda where: run_reader(path, where), folder)
    size = count = 0
    for file in files:
        with file.open(encoding="utf-8") as stream:
            for line in stream:
                size += len(json.loads(line)["text"].encode())
                count += 1
    return summary(count, left, size, seconds)


def measure_blocks(path: Path, step: str, folder: Path, tokenizer: str) -> dict[str, Any]:
    from datatrove.data import Document
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    by_language: dict[str, list[Any]] = {language: [] for language in LANGUAGES}
    size = 0
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if step in ENGLISH and row["lang"] != "en":
                continue
            size += len(row["text"].encode())
            by_language[row["lang"]].append(Document(row["text"], row["id"]))

    def run(documents: dict[str, list[Any]], where: Path) -> int:
        if step == "encode":
            return run_tokenizer(
                [each for some in documents.values() for each in some], where, tokenizer
            )
        left = 0
        for language, some in documents.items():
            if step == "duplicates":
                left += run_minhash(some, LANGUAGES[language], where)
            else:
                left += run_blocks(step, some, LANGUAGES[language])
        return left

    # What is loaded on first use isn't measured.
    few = {
        language: [Document(each.text, each.id) for each in some[:2]]
        for language, some in by_language.items()
    }
    for language in LANGUAGES.values():
        load_word_tokenizer(language).word_tokenize("One. 一。")
    run(few, folder / "first")
    if step == "encode":
        left, seconds = fastest(lambda where: run(by_language, where), folder)
    else:
        left, seconds = timed(lambda: run(by_language, folder))
    return summary(sum(map(len, by_language.values())), left, size, seconds)


def timed(function: Callable[[], int]) -> tuple[int, tuple[float, float]]:
    """What a function returns; the wall seconds and the CPU seconds that it took."""
    begun, cpu = time.perf_counter(), time.process_time()
    found = function()
    return found, (time.perf_counter() - begun, time.process_time() - cpu)


def fastest(function: Callable[[Path], int], folder: Path) -> tuple[int, tuple[float, float]]:
    """As `timed`, of the run with the least CPU seconds; each gets a folder."""
    runs = [timed(lambda n=n: function(folder / str(n))) for n in range(REPEATS)]
    return min(runs, key=lambda run: run[1][1])


def summary(count: int, left: int, size: int, seconds: tuple[float, float]) -> dict[str, Any]:
    wall, cpu = seconds
    return {
        "documents": count,
        "left": left,
        "bytes": size,
        "seconds": wall,
        "cpu_seconds": cpu,
        "mb_per_cpu_second": size / 1e6 / cpu,
        "peak_bytes": peak(),
    }


def peak() -> int:
    """Most memory that this process has had resident, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    from loguru import logger

    logger.remove()
    documents, folder = Path(sys.argv[1]), Path(sys.argv[3])
    if sys.argv[2] == "read":
        result = measure_reader(documents, folder)
    else:
        result = measure_blocks(documents, sys.argv[2], folder, sys.argv[4])
    print(json.dumps(result))
