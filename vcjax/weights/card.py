"""The model card of a written model. It always names the charter that the model was aligned to.

The charter is read from the chain of lineages behind the model, so that the card names it for every
way of writing a model.
"""

from collections.abc import Iterator
from pathlib import Path

from vcjax.charter.load import load_charter
from vcjax.core.lineage import NAME as LINEAGE
from vcjax.core.lineage import Parent, content_hash, read_lineage
from vcjax.core.stores import as_path, short_name
from vcjax.weights.model import AnyModel
from vcjax.weights.workdir import SOURCES, read_sources

CHARTER = "charter"
"""Role of the charter in a lineage."""
_MODELS = ("model", "base")
"""Roles of the models that another is made from."""


def charter_of(origin: Parent) -> Parent | None:
    """The charter that a model was aligned to: the nearest in the chain of models behind it."""
    found = (one for parents in _chain(origin) for one in parents if one.role == CHARTER)
    return next(found, None)


def _chain(origin: Parent) -> Iterator[list[Parent]]:
    """What each of the models in the chain was made from, the nearest first."""
    todo, visited = [origin], set()
    while todo:
        path = todo.pop(0).path
        # Two models of a chain may have one parent: an adapter and the run that trained it share a
        # base.
        if path is None or path in visited:
            continue
        visited.add(path)
        parents = _parents(as_path(path))
        yield parents
        todo += [one for one in parents if one.role in _MODELS]


def _parents(folder: Path) -> list[Parent]:
    """The parents that a training run, finished or not, or a folder's lineage has recorded."""
    if (folder / SOURCES).is_file():
        return read_sources(folder)
    if (folder / LINEAGE).is_file():
        return [Parent.from_record(one, folder) for one in read_lineage(folder)["parents"]]
    return []


def _named(charter: Parent) -> str:
    """Name, version and hash of a charter; where its file has changed, as it was recorded."""
    path = as_path(charter.path) if charter.path else None
    if path is None or not path.is_file() or content_hash(path) != charter.hash:
        return f"{charter.reference} (hash {charter.hash[:16]})"
    read = load_charter(str(path))
    return f"{read.name} {read.version} (hash {read.content_hash[:16]})"


def model_card(
    model: AnyModel,
    *,
    title: str | None = None,
    notes: tuple[str, ...] = (),
    front: tuple[str, ...] = ("library_name: transformers",),
) -> str:
    """Markdown with the front matter that model hubs read.

    Args:
      title: None is the name of the source.
      notes: sentences about how it was made and what was measured.
      front: lines of the front matter.
    """
    charter = charter_of(model.origin)
    aligned = (
        f"This model was aligned to the charter **{_named(charter)}**."
        if charter
        else "This model was not aligned to a charter by vcjax."
    )
    config = model.config
    lines = [
        "---",
        *front,
        "tags: [vcjax]",
        "---",
        "",
        f"# {title or short_name(model.origin.reference)}",
        "",
        aligned,
        "",
        *[f"- {note}" for note in notes],
        f"- Source: `{model.origin.reference}` (content hash `{model.origin.hash[:16]}`).",
        f"- Architecture: {config.architecture}, {config.num_layers} layers, hidden size "
        f"{config.hidden_size}, {config.num_heads} heads ({config.num_kv_heads} for keys and "
        f"values), {config.vocab_size} tokens, context {config.max_position}.",
        "",
        "The floor rules bind every charter: no dehumanising or hateful content, no incitement, "
        "no invented or denied facts; where a charter and the record conflict, accuracy wins. "
        "A charter is a direction given in training, not a guarantee about an answer.",
        "",
        "`lineage.json` beside this file has the chain of data, config and models behind it; "
        "`python -m launch.verify` rehashes it.",
        "",
    ]
    return "\n".join(lines)
