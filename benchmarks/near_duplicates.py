"""Does deduplication run_case at a million queries? Memory, seconds and what is missed."""

import random
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.serve import peak_resident
from vcjax.adversarial.attacks.style import shipped_attacks
from vcjax.charter.load import load_charter
from vcjax.core.seeds import derive_seed
from vcjax.data.near_duplicates import NearDuplicates, similarity
from vcjax.text.language import HAN

_LOOKUPS = 5000
_WORD = re.compile(r"[A-Za-z]{2,}")


def measure_near_duplicates(count: int, seed: int = 0) -> dict[str, Any]:
    """Fills an index with `count` made-up queries and looks some of them up, changed a little.

    Memory is the peak of the process, in bytes: run it in a process of its own. Seconds
    are of the index alone, without making up the queries.

    Returns:
      `queries`; `build_seconds` and `build_processor_seconds`, which a busy machine doesn't
      lengthen; `add_seconds` and `lookup_seconds`, medians, and
      `lookup_seconds_99`, the 99th percentile, all on the full index; `looked_up` queries of at
      least the threshold's similarity to one that is there, and how many were `missed`;
      `peak_bytes` and `peak_bytes_before`.
    """
    before = peak_resident()
    index, queries = NearDuplicates(), made_up_queries(seed)
    build, processor = 0.0, 0.0
    rng, kept = random.Random(derive_seed(seed, "kept")), {}
    for number in range(count):
        query = next(queries)
        if rng.random() < 2 * _LOOKUPS / count:
            kept[number] = query
        start, began = time.perf_counter(), time.process_time()
        index.add(query)
        build += time.perf_counter() - start
        processor += time.process_time() - began
    changed = [(number, query, _changed(query, rng)) for number, query in kept.items()]
    near = [each for each in changed if similarity(each[1], each[2]) >= index.threshold]
    lookups, missed = [], 0
    for number, _, query in near:
        start = time.perf_counter()
        found = index.first_match(query)
        lookups.append(time.perf_counter() - start)
        missed += found is None or found > number
    adds = []
    for _ in range(_LOOKUPS):
        query = next(queries)
        start = time.perf_counter()
        index.add(query)
        adds.append(time.perf_counter() - start)
    return {
        "queries": count,
        "build_seconds": build,
        "build_processor_seconds": processor,
        "add_seconds": float(np.median(adds)),
        "lookup_seconds": float(np.median(lookups)),
        "lookup_seconds_99": float(np.percentile(lookups, 99)),
        "looked_up": len(near),
        "missed": missed,
        "peak_bytes": peak_resident(),
        "peak_bytes_before": before,
    }


def made_up_queries(seed: int) -> Iterator[str]:
    """Queries without end, English and Chinese in turn, that open as an attack's examples do.

    What follows is words (characters) in random order, as frequent as they are in the shipped
    attacks and the default charter: queries share openings and common words, as an Attacker's do.
    """
    rng = random.Random(derive_seed(seed, "queries"))
    shipped = [load_charter("universal"), *shipped_attacks().values()]
    text = " ".join(part for each in shipped for part in _strings(each.model_dump()))
    words, characters = _WORD.findall(text), HAN.findall(text)
    examples = [
        example for attack in shipped_attacks().values() for example in attack.examples["en"]
    ]
    english = [example.question.split() for example in examples]
    examples = [
        example for attack in shipped_attacks().values() for example in attack.examples["zh"]
    ]
    chinese = [example.question for example in examples]
    while True:
        opening = rng.choice(english)
        drawn = rng.choices(words, k=rng.randint(8, 16))
        yield " ".join([*opening[: len(opening) // 3], *drawn]) + "?"
        opening = rng.choice(chinese)
        drawn = rng.choices(characters, k=rng.randint(12, 28))
        yield opening[: len(opening) // 3] + "".join(drawn) + "？"


def _strings(value: Any) -> Iterator[str]:
    """All strings among the values of nested mappings and sequences."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _changed(query: str, rng: random.Random) -> str:
    """The query without one of its words (characters)."""
    units = query.split(" ") if query.isascii() else list(query)
    del units[rng.randrange(len(units) - 1)]
    return (" " if query.isascii() else "").join(units)
