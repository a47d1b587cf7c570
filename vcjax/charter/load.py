"""Reads a charter by its shipped name or from a YAML file; every mistake is one line."""

from pathlib import Path

from pydantic import ValidationError

from vcjax.charter.messages import explain
from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.core.yaml_files import read_mapping

SHIPPED = ("universal", "vcllm", "verifiable")
_FOLDER = Path(__file__).parent / "shipped"


def load_charter(reference: str) -> Charter:
    """Loads a shipped charter (`universal`, `vcllm`, `verifiable`) or the YAML file at a path.

    Raises:
      UserError: the file is missing, isn't YAML or isn't a charter; names file and field or line.
    """
    reference = str(reference)
    path = charter_file(reference)
    if not path.suffix and len(path.parts) == 1 and not path.exists():
        raise UserError(
            f"charter {reference!r}: neither a file nor a shipped charter "
            f"({', '.join(SHIPPED)}){suggest(reference, SHIPPED)}"
        )
    data = read_mapping(path, reference, "a charter")
    try:
        return Charter.model_validate(data)
    except ValidationError as failure:
        raise UserError(f"{reference}: {explain(failure, Charter)}") from None


def charter_file(reference: str) -> Path:
    """The file that a charter's name or path stands for."""
    return _FOLDER / f"{reference}.yaml" if reference in SHIPPED else Path(reference)
