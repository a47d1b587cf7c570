"""The rows that a shard of documents becomes, in a folder for each split, and their counts."""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from vcjax.core.errors import UserError
from vcjax.data.corpus.config import PrepareConfig
from vcjax.data.corpus.document import HASH, HASH_DIGITS, Document, Removal, to_record
from vcjax.data.corpus.pipeline import ENCODE
from vcjax.data.corpus.tally import Tally
from vcjax.data.digests import fingerprint
from vcjax.data.encode import encode_all
from vcjax.data.overlap import TraceWriter
from vcjax.data.packing import packer_of
from vcjax.data.prepared import NO_DOMAIN, TRAIN, VALIDATION, RowShard
from vcjax.data.records import Record

ROWS = "rows.array_record"


def split_of(document: Document, share: float) -> str:
    """`train` or `validation`, by the hash of the document's text as it was read."""
    part = int(document.meta[HASH], 16) / 16**HASH_DIGITS
    return VALIDATION if part < share else TRAIN


def write_rows(
    folder: Path,
    documents: Iterator[Document],
    tally: Tally,
    config: PrepareConfig,
    tokenizer: Any,
) -> dict[str, Any]:
    """Writes the rows of each split below `folder`; returns the counts of each split.

    Raises: UserError, a document that can't be encoded, if `config.on_bad_record` is `error`.
    """
    kind, splits = config.kind, (TRAIN, VALIDATION)[: 1 + (config.validation > 0)]
    packers = {split: packer_of(kind, config.length) for split in splits}
    about = {split: _About() for split in splits}
    waiting: deque[Document] = deque()  # that are being encoded

    def records() -> Iterator[Record]:
        for document in documents:
            waiting.append(document)
            yield to_record(document, kind)

    with ExitStack() as stack:
        shards, traces = {}, {}
        for split in splits:
            (folder / split).mkdir()
            shard = RowShard(folder / split / ROWS, packers[split].shape)
            shards[split] = stack.enter_context(shard)
            traces[split] = stack.enter_context(TraceWriter(folder / split))
        for record, examples in encode_all(kind, tokenizer, records()):
            # Results come in the order of the records, but in blocks: the queue has their documents
            # until then.
            document = waiting.popleft()
            tally.step(ENCODE).got(document)
            if isinstance(examples, UserError):
                if config.on_bad_record == "error":
                    raise UserError(f"{document.file}:{document.line}: {examples}")
                tally.remove(Removal(ENCODE, str(examples), document))
                continue
            split = split_of(document, config.validation)
            traces[split].add(record, fingerprint(record))
            about[split].add(document, record, examples)
            for example in examples:
                shards[split].write(packers[split].add(cast(Any, example)))
        for split in splits:
            shards[split].write(packers[split].finish())
    return {
        "splits": {
            split: {
                "counts": asdict(packers[split].counts),
                "shard": [shards[split].rows, shards[split].size],
                **vars(about[split]),
            }
            for split in splits
        }
    }


@dataclass
class _About:
    """Documents and tokens of a split, by language, domain and source."""

    documents: int = 0
    by_turn: int = 0
    languages: dict[str, list[int]] = field(default_factory=dict)
    domains: dict[str, list[int]] = field(default_factory=dict)
    sources: dict[str, list[int]] = field(default_factory=dict)

    def add(self, document: Document, record: Any, examples: list[Any]) -> None:
        pairs = [[e] if hasattr(e, "ids") else [e.chosen, e.rejected] for e in examples]
        tokens = sum(len(example.ids) for pair in pairs for example in pair)
        self.documents += 1
        self.by_turn += len(examples) > 1
        for counts, name in (
            (self.languages, document.lang if document.lang != "und" else record.lang),
            (self.domains, document.domain or NO_DOMAIN),
            (self.sources, document.source),
        ):
            found = counts.setdefault(name, [0, 0])
            found[0] += 1
            found[1] += tokens
