"""Text that no arm was trained on: how well does a checkpoint still predict it?

config.documents --> read_documents --> score_documents   each arm's checkpoint, in nats
                           |
what arms trained on --> overlapping   documents that share a sentence with it: left out for all
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vcjax.core.errors import UserError
from vcjax.core.files import read_jsonl, write_json
from vcjax.core.lineage import NAME, Parent, read_lineage
from vcjax.core.progress import Progress
from vcjax.core.run import Run
from vcjax.data.files import data_parents
from vcjax.data.importers import Records
from vcjax.data.near_duplicates import Quoted
from vcjax.data.records import Document
from vcjax.generate.likelihood import prefix_id
from vcjax.generate.requests import Scored
from vcjax.generate.scoring import score
from vcjax.model.build import abstract
from vcjax.road.ablation.config import AblationConfig
from vcjax.text.chat_settings import split_options
from vcjax.text.language import Language
from vcjax.text.units import sentences, units
from vcjax.weights.load import load_model
from vcjax.weights.model import LoadedModel
from vcjax.weights.workdir import as_begun, write_sources

SCORES = "documents.json"
AT_ONCE = 4096
"""Documents whose texts are in memory together."""
_LEAST_UNITS = {"en": 6, "zh": 10}
"""Words or characters of a sentence by which a text is found again: shorter ones are in many."""


@dataclass(frozen=True)
class DocumentSettings:
    """The fields of a config that name documents, for who has no `AblationConfig`.

    Attributes:
      documents: comma-separated files.
      language: of those that are read.
      document_tokens: the first tokens of each, which are scored.
      on_bad_record: `error` or `quarantine`.
    """

    documents: str
    language: str
    document_tokens: int
    on_bad_record: str


DocumentSource = AblationConfig | DocumentSettings


def read_documents(config: DocumentSource) -> Iterator[Document]:
    """The documents of `config.documents` in the language, one after the other.

    Raises:
      UserError: a bad file, or none in the language.
    """
    found = False
    for record in Records(config.documents, "documents", on_bad_record=config.on_bad_record):
        if isinstance(record, Document) and record.lang == config.language:
            found = True
            yield record
    if not found:
        raise UserError(f"{config.documents}: no document in {config.language!r}")


def check_base_not_trained_on(model: str, documents: str) -> None:
    """Raises UserError if the lineage of the base model has one of the documents' files."""
    hashes = {parent.hash: parent.reference for parent in data_parents("", documents)}
    for parent in _ancestors(Path(split_options(model)[0]), set()):
        if parent.hash in hashes:
            raise UserError(
                f"config.documents: {model} was trained on {hashes[parent.hash]}; name text "
                "that no arm has seen"
            )


def _ancestors(folder: Path, visited: set[Path]) -> Iterator[Parent]:
    """All that a folder was made from, as far as the lineages are still at their paths."""
    if folder in visited or not (folder / NAME).is_file():
        return
    visited.add(folder)
    for record in read_lineage(folder)["parents"]:
        parent = Parent.from_record(record, folder.absolute())
        yield parent
        if parent.path is not None:
            yield from _ancestors(Path(parent.path), visited)


def overlapping(config: AblationConfig, trained_on: Iterable[Path]) -> list[str]:
    """The ids of documents that have a sentence of what was trained on, whole or nearly.

    Args:
      trained_on: files of conversations or preferences.
    """
    texts = (text for path in trained_on for text in trained_texts(path))
    return [each.id for each in sharing_a_sentence(read_documents(config), texts, config.lang)]


def trained_texts(path: Path) -> Iterator[str]:
    """The texts of a JSONL file of conversations or preferences."""
    for _, record in read_jsonl(path):
        yield from (message["content"] for message in record["messages"])
        yield from (record[side] for side in ("chosen", "rejected") if side in record)


def sharing_a_sentence(
    documents: Iterable[Document], texts: Iterable[str], lang: Language
) -> list[Document]:
    """The documents that have a sentence of the texts, whole or nearly.

    So exact and near-duplicates are found, and what only shares a passage.
    """
    known = {part for text in texts for part in _sentences(text, lang)}
    quoted = Quoted(sorted(known))
    return [each for each in documents if quoted.first_match(each.text) is not None]


def _sentences(text: str, lang: Language) -> list[str]:
    parts = sentences(text, lang)
    return [part for part in parts if len(units(part, lang)) >= _LEAST_UNITS[lang]]


def score_documents(config: DocumentSource, model: str, folder: Path) -> None:
    """Scores the first tokens of each document under a model, unless that is done.

    `documents.json` has `{id, nats, tokens}` of each.
    """
    settings = {
        "model": model,
        "documents": config.documents,
        "language": config.language,
        "document_tokens": config.document_tokens,
    }
    run = Run("documents", folder, settings)
    if run.is_finished():
        return
    # In float32 whatever the training was in: differences of losses are small.
    loaded = load_model(as_begun(model, folder), "float32")
    with run.opened():
        write_sources(folder, [loaded.origin])
        scores = _scored(loaded, read_documents(config), config.document_tokens)
        write_json(folder / SCORES, scores)
        run.finish([*data_parents("documents", config.documents), loaded.origin])


def _scored(loaded: LoadedModel, documents: Iterable[Document], most: int) -> list[dict[str, Any]]:
    """`{id, nats, tokens}` of each document: all that remains in memory of it."""
    tokenizer = loaded.require_tokenizer()
    first = prefix_id(tokenizer)
    room = min(most, loaded.config.max_position)
    graph, _ = abstract(loaded.config)
    waiting = iter(documents)
    scores: list[dict[str, Any]] = []
    with Progress(desc="documents", total=None) as bar:

        def scored(index: int, found: Scored) -> None:
            bar.update()

        # All texts of a corpus at once might not fit into memory.
        while some := list(islice(waiting, AT_ONCE)):
            # From the second position on: the first token is BOS, or what stands for it, and is
            # given.
            sequences = [([first, *tokenizer.encode(each.text)[:room]], 1) for each in some]
            found = score(graph, loaded.params, sequences, on_scored=scored)
            scores += [
                {"id": each.id, "nats": -sum(own.logprobs), "tokens": len(own.logprobs)}
                for each, own in zip(some, found, strict=True)
            ]
    return scores
