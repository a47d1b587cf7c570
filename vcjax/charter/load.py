"""Reads a charter by its shipped name or from a YAML file; every mistake is one line."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vcjax.charter.schema import Charter
from vcjax.core.errors import UserError, suggest
from vcjax.core.lineage import Parent, content_hash
from vcjax.core.validation import explain
from vcjax.core.yaml_files import read_mapping

SHIPPED = ("universal", "vcllm", "verifiable")
_FOLDER = Path(__file__).parent / "shipped"

# SHA-256 of the shipped files of earlier versions. No prompt or score of these charters differs, so
# what began with these files continues. Each of the first two had a copy of the domains.
_EARLIER_HASHES = {
    "d68a469a88b05c2e86b746732775452ff936c5270362f513bdbb77ccc3504a72": "vcllm",
    "b62b87fabf8649439d5b382ea0ecb109f0be01b7876ccd35cd2a0709463bb988": "verifiable",
    # Without `terms`, and with those of held-out subdomains alone: they decide what data is left
    # out or selected before a run begins.
    "83005aa124cdeba242d14d874c3c5f278bdfb180e452907b3b61d1b09c15a8da": "universal",
    "d4a230ed7c4cad38073f41e79ec264c1b755d76f4298aca395f2739b2bd49d5b": "universal",
}


def load_charter(reference: str) -> Charter:
    """Loads a shipped charter (`universal`, `vcllm`, `verifiable`) or the YAML file at a path.

    Where a file names a shipped charter as its `domains`, it has those of that charter.

    Raises:
      UserError: the file is missing, isn't YAML or isn't a charter; names file and field or line.
    """
    reference = str(reference)
    data = read_charter(reference)
    try:
        return Charter.model_validate(data)
    except ValidationError as failure:
        raise UserError(f"{reference}: {explain(failure, Charter)}") from None


def charter_parents(reference: str) -> list[Parent]:
    """The files that a charter is made of, hashed now, as parents in a lineage.

    Raises:
      UserError: see `load_charter`.
    """
    reference = str(reference)
    parents = [Parent.of("charter", charter_file(reference), reference)]
    domains = read_mapping(charter_file(reference), reference, "a charter").get("domains")
    if isinstance(domains, str):
        parents.append(Parent.of("charter_domains", charter_file(domains), domains))
    return parents


def as_shipped_now(parents: Iterable[Parent]) -> list[Parent]:
    """Recorded parents, with today's files in place of shipped charters of an earlier version from
    which no prompt or score differs."""
    current: list[Parent] = []
    for parent in parents:
        name = _EARLIER_HASHES.get(parent.hash)
        if name and parent.role == "charter":
            current += charter_parents(name)
        else:
            current.append(
                replace(parent, hash=content_hash(charter_file(name))) if name else parent
            )
    return current


def read_charter(reference: str) -> dict[str, Any]:
    """The fields of a charter's file, not yet checked, with the domains that it names.

    Raises:
      UserError: the file is missing, isn't YAML or isn't a mapping.
    """
    path = charter_file(reference)
    # A bare word is a misspelled name more often than a file, so shipped names are suggested.
    if not path.suffix and len(path.parts) == 1 and not path.exists():
        raise UserError(
            f"charter {reference!r}: neither a file nor a shipped charter "
            f"({', '.join(SHIPPED)}){suggest(reference, SHIPPED)}"
        )
    data = read_mapping(path, reference, "a charter")
    domains = data.get("domains")
    if not isinstance(domains, str):
        return data
    if domains not in SHIPPED:
        raise UserError(
            f"{reference}: domains: {domains!r} is no shipped charter ({', '.join(SHIPPED)})"
            f"{suggest(domains, SHIPPED)}"
        )
    return {**data, "domains": read_charter(domains)["domains"]}


def charter_file(reference: str) -> Path:
    """The file of a shipped charter, or the path itself."""
    return _FOLDER / f"{reference}.yaml" if reference in SHIPPED else Path(reference)
