"""The records that a synthesis run leaves.

The attempts stream by: a run of a million of them needs no more memory than a small one.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vcjax.core.files import replaced

Record = dict[str, Any]


def accepted_records(attempt: Record) -> Iterator[Record]:
    """The conversation of an accepted attempt. The persona is left out: the model is to hold the
    charter without being told it."""
    if attempt["kind"] == "accepted":
        yield {
            "id": attempt["id"],
            "messages": [*_prompt(attempt), {"role": "assistant", "content": attempt["answer"]}],
            "lang": attempt["lang"],
            "domain": attempt["subdomain"],
        }


def preference_records(attempt: Record) -> Iterator[Record]:
    """An accepted answer against each rejected one to the same query, the attacked checkpoint's
    own among them."""
    if attempt["kind"] == "accepted":
        for n, candidate in enumerate(attempt["candidates"]):
            answer = candidate["answer"]
            if candidate["kind"] == "rejected" and answer.strip() and answer != attempt["answer"]:
                yield {
                    "id": f"{attempt['id']}/{n}",
                    "messages": _prompt(attempt),
                    "chosen": attempt["answer"],
                    "rejected": answer,
                    "domain": attempt["subdomain"],
                }


def rejected_records(attempt: Record) -> Iterator[Record]:
    """What was not accepted, with everything that is known about why."""
    if attempt["kind"] != "accepted":
        yield attempt


EXPORTED = {"accepted.jsonl": accepted_records, "preferences.jsonl": preference_records}
"""What is trained on."""
KEPT = {"rejected.jsonl": rejected_records}


def write_records(
    folder: Path, attempts: Iterable[Record], *, export: bool = True
) -> dict[str, int]:
    """Writes the records of all attempts.

    Args:
      export: without it what is trained on isn't written, and what was written is removed.

    Returns the number of records in each file.
    """
    files = {**(EXPORTED if export else {}), **KEPT}
    written: Counter[str] = Counter()
    with ExitStack() as stack:
        streams = {}
        for name in files:
            temporary = stack.enter_context(replaced(folder / name))
            streams[name] = stack.enter_context(temporary.open("w", encoding="utf-8"))
        for attempt in attempts:
            for name, records in files.items():
                for record in records(attempt):
                    streams[name].write(json.dumps(record, ensure_ascii=False) + "\n")
                    written[name] += 1
    for name in EXPORTED.keys() - files.keys():
        (folder / name).unlink(missing_ok=True)
    return {name: written[name] for name in files}


def _prompt(attempt: Record) -> list[dict[str, str]]:
    """What the answer is to: the conversation, where there was more than the query."""
    return attempt["conversation"] or [{"role": "user", "content": attempt["query"]}]
