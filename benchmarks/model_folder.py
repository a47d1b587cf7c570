"""A model as a folder that every contender can read."""

from pathlib import Path

from vcjax.core.files import replaced_folder
from vcjax.core.lineage import content_hash
from vcjax.weights.bundle import load_located, write_bundle
from vcjax.weights.resolve import resolve


def as_folder(reference: str, folder: Path) -> Path:
    """A Hugging Face folder of a model in float32.

    Made below `folder` unless the reference is one or an earlier bench has made it.
    """
    located = resolve(reference)
    if located.kind == "hf":
        return located.path.absolute()
    made = (folder / content_hash(located.path, located.files)[:16]).absolute()
    if not made.is_dir():
        with replaced_folder(made) as temporary:
            write_bundle(temporary, load_located(located, "float32"), form="hf", dtype="float32")
    return made
