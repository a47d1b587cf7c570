"""Documents to measure data pipelines on: many variations of the shipped ones."""

import json
import random
from pathlib import Path

import vcjax.data
from vcjax.core.files import read_jsonl, replaced

SHIPPED = Path(vcjax.data.__file__).parent / "demo" / "documents.jsonl"
RARE = 0.05


def write_documents(path: Path, megabytes: float, seed: int = 0) -> None:
    """Writes at least so many megabytes (10^6 bytes) of text as JSONL documents, all different.

    The words of a variation are those of a shipped document in another order. One in twenty is
    spelt backwards: tokenizers remember words that they have met, and real text has rare ones.
    """
    sources = [record for _, record in read_jsonl(SHIPPED)]
    draw = random.Random(seed)
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        written, number = 0, 0
        while written < megabytes * 1e6:
            source = draw.choice(sources)
            words = source["text"].split(" ")
            draw.shuffle(words)
            words = [word[::-1] if draw.random() < RARE else word for word in words]
            # Short texts, and those without spaces, come out alike by chance.
            text = f"{number} {' '.join(words)}"
            fields = {key: value for key, value in source.items() if key != "id"}
            print(json.dumps({**fields, "text": text}, ensure_ascii=False), file=stream)
            written, number = written + len(text.encode()), number + 1
