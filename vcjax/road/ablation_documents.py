"""How well a checkpoint predicts documents that no arm was trained on."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vcjax.core.errors import UserError
from vcjax.core.files import read_json, write_json
from vcjax.core.lineage import NAME, write_lineage
from vcjax.core.run import check_config, opened
from vcjax.data.files import data_parents
from vcjax.data.importers import Records
from vcjax.data.records import Document
from vcjax.generate.scoring import Scored, score
from vcjax.generate.text import prefix_id
from vcjax.model.build import abstract
from vcjax.road.ablation_config import AblationConfig
from vcjax.weights.bundle import Bundle, load_bundle

SCORES = "documents.json"
AT_ONCE = 4096
"""Documents whose texts are in memory together."""


def read_documents(config: AblationConfig) -> Iterator[Document]:
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


def score_documents(config: AblationConfig, model: str, folder: Path) -> list[dict[str, Any]]:
    """Scores the first tokens of each document under a model; `{id, nats, tokens}` of each.

    They are written to `documents.json`; what is there isn't done again.
    """
    settings = {
        "model": model,
        "documents": config.documents,
        "language": config.language,
        "document_tokens": config.document_tokens,
    }
    check_config(folder, settings)
    if (folder / NAME).is_file():
        return read_json(folder / SCORES)
    bundle = load_bundle(model, "float32")
    with opened(folder, settings):
        scores = _scored(bundle, read_documents(config), config.document_tokens)
        write_json(folder / SCORES, scores)
        parents = data_parents("documents", config.documents)
        parents.append(bundle.origin)
        write_lineage(folder, kind="documents", parents=parents, config=settings)
    return scores


def _scored(bundle: Bundle, documents: Iterable[Document], most: int) -> list[dict[str, Any]]:
    """Of each document its id and two numbers remain, which are written as one list."""
    tokenizer = bundle.require_tokenizer()
    first = prefix_id(tokenizer)
    room = min(most, bundle.config.max_position)
    graph, _ = abstract(bundle.config)
    waiting = iter(documents)
    scores: list[dict[str, Any]] = []
    with tqdm(desc="documents", disable=None) as bar:

        def scored(index: int, found: Scored) -> None:
            bar.update()

        while some := list(islice(waiting, AT_ONCE)):
            sequences = [([first, *tokenizer.encode(each.text)[:room]], 1) for each in some]
            found = score(graph, bundle.params, sequences, on_scored=scored)
            scores += [
                {"id": each.id, "nats": -sum(own.logprobs), "tokens": len(own.logprobs)}
                for each, own in zip(some, found, strict=True)
            ]
    return scores
