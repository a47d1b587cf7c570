r"""Documents that are only measured on, and what remains of the others to train on.

config.documents --split_text--> training.jsonl   without what shares a sentence with the held out
                            \--> held_out.jsonl   a share, or all of config.measured_documents
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from vcjax.core.errors import UserError
from vcjax.core.files import write_json, write_jsonl
from vcjax.core.run import SUMMARY, Run
from vcjax.core.seeds import derive_seed
from vcjax.data.files import data_parents
from vcjax.data.importers import Records
from vcjax.data.records import Document
from vcjax.road.ablation.documents import sharing_a_sentence
from vcjax.road.stages.config import StagesConfig
from vcjax.text.language import Language

TEXT, TRAINING, HELD_OUT = "text", "training.jsonl", "held_out.jsonl"


def read_text(config: StagesConfig) -> tuple[list[Document], list[Document]]:
    """The documents to train on, and those that are only measured on.

    Raises:
      UserError: a bad file, or no documents to train on or to measure.
    """
    every = list(_documents(config, config.documents))
    if config.measured_documents.strip():
        trained, measured = every, list(_documents(config, config.measured_documents))
    else:
        held_out = _drawn(config, every)
        trained = [each for each in every if _group(each) not in held_out]
        measured = [each for each in every if _group(each) in held_out]
    # Whichever way they were chosen: one document may quote another.
    for lang in languages(measured):
        texts = [each.text for each in measured if each.lang == lang]
        own = [each for each in trained if each.lang == lang]
        shared = {each.id for each in sharing_a_sentence(own, texts, lang)}
        trained = [each for each in trained if each.id not in shared]
    if not trained or not measured:
        raise UserError(
            f"config.documents: {len(every)} documents aren't enough to train on some and to "
            "measure others; name config.measured_documents"
        )
    return trained, measured


def languages(documents: Iterable[Document]) -> list[Language]:
    """The languages of the documents, as far as charters have them."""
    found = {each.lang for each in documents}
    return [lang for lang in get_args(Language) if lang in found]


def split_text(config: StagesConfig, folder: Path) -> None:
    """Writes both files, unless they are there."""
    names = ("documents", "measured_documents", "held_out_share", "columns", "on_bad_record")
    settings = {name: getattr(config, name) for name in names}
    run = Run(TEXT, folder, settings, seed=config.seed)
    if run.is_finished():
        return
    trained, measured = read_text(config)
    with run.opened():
        write_jsonl(folder / TRAINING, (each.to_dict() for each in trained))
        write_jsonl(folder / HELD_OUT, (each.to_dict() for each in measured))
        write_json(folder / SUMMARY, {"trained": len(trained), "measured": len(measured)})
        files = ",".join(filter(None, (config.documents, config.measured_documents)))
        run.finish(data_parents("documents", files))


def _documents(config: StagesConfig, files: str) -> Iterator[Document]:
    records = Records(
        files, "documents", on_bad_record=config.on_bad_record, columns=config.columns
    )
    for record in records:
        if isinstance(record, Document):
            yield record


def _drawn(config: StagesConfig, documents: Sequence[Document]) -> set[str]:
    """Whole groups of documents, until they have the share."""
    sizes: dict[str, int] = {}
    for each in documents:
        sizes[_group(each)] = sizes.get(_group(each), 0) + 1
    found: set[str] = set()
    for group in sorted(sizes, key=lambda name: derive_seed(config.seed, "held-out text", name)):
        if sum(sizes[name] for name in found) >= config.held_out_share * len(documents):
            break
        found.add(group)
    return found


def _group(document: Document) -> str:
    # Documents of one domain are alike, and some are translations of each other.
    return document.domain or document.id
