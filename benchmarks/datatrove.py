"""datatrove's own blocks beside our steps, on the same documents, a process each.

Its URL filter and those of fastText are left out, since they fetch what they need; decontamination
too, whose index is built of another library's tasks.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.contenders import datatrove_blocks
from benchmarks.environment import absent, interpreter
from vcjax.core.files import replaced
from vcjax.data.corpus.pipeline import READ
from vcjax.data.corpus.shards import ShardPath, read_documents

STEPS = (READ, "normalise", "personal", "lines", "quality", "duplicates", "encode")
"""Those of ours that have a block of datatrove's."""


def measure_datatrove(
    files: Path, source: ShardPath, folder: Path, tokenizer: Path, python: str
) -> Any:
    """Measures each block on the documents of a shard whose language is English or Chinese.

    Args:
      files: the folder of a drawn corpus, which `read` reads.
      source: the shard, of the same corpus.
      tokenizer: a `tokenizer.json`.
      python: an interpreter with datatrove, spaCy, jieba and ftfy; empty is that of its
        environment.

    Returns:
      By step what `datatrove_blocks` prints, or why it can't be measured under `left_out`.
    """
    found = interpreter("spacy", python)
    if found is None:
        return {step: {"left_out": absent("spacy")} for step in STEPS}
    documents = folder / "datatrove.jsonl"
    with replaced(documents) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for each in read_documents(source):
            if each.lang in datatrove_blocks.LANGUAGES:
                row = {"id": each.id, "text": each.text, "lang": each.lang}
                print(json.dumps(row, ensure_ascii=False), file=stream)
    return {
        step: _measure(
            step, files if step == READ else documents, folder / "datatrove", tokenizer, found
        )
        for step in STEPS
    }


def _measure(
    step: str, documents: Path, folder: Path, tokenizer: Path, python: Path
) -> dict[str, Any]:
    print(f"datatrove: {step}", file=sys.stderr, flush=True)
    program = Path(datatrove_blocks.__file__)
    arguments = [documents.absolute(), step, (folder / step).absolute(), tokenizer.absolute()]
    # As where there is a process for each core, on both sides.
    done = subprocess.run(
        [python, program, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"left_out": lines[-1] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])
