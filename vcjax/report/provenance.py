"""Where everything came from: the lineage chain, the seed, the code."""

from collections.abc import Sequence
from typing import Any

from vcjax.report.blocks import Block, Section, Table, Text
from vcjax.report.names import words
from vcjax.report.numbers import DASH, short_hash


def provenance_section(
    facts: Sequence[tuple[str, str]], lineage: Sequence[dict[str, Any]]
) -> Section:
    """The facts of the run and the chain of its folders.

    Args:
      facts: names and values, e.g. the seed.
      lineage: a record a folder, in the order they were made: what
        `vcjax.core.lineage.write_lineage` returned, with the `folder` itself. `folder`,
        `kind`, `hash` and `parents` are shown, and `seed` and `code` where they are there.
    """
    blocks: list[Block] = [Table("The run.", ("What", "Value"), facts, labels=2)]
    if not lineage:
        blocks.append(Text("No lineage was recorded for this report."))
        return Section("lineage", "Lineage", blocks)
    blocks.append(
        Text(
            "Each folder is known by the hash of its content, and names what it was made from. "
            "The verify command rehashes the chain. Hashes are cut to 12 digits here."
        )
    )
    blocks.append(
        Table(
            "Folders, in the order they were made.",
            ("Folder", "Kind", "Hash", "Seed", "Code"),
            [
                (
                    *(entry["folder"], entry["kind"], short_hash(entry["hash"])),
                    *(_seed(entry.get("seed")), _code(entry.get("code"))),
                )
                for entry in lineage
            ],
            labels=5,
        )
    )
    parents = [
        (entry["folder"], words(parent["role"]), parent["reference"], short_hash(parent["hash"]))
        for entry in lineage
        for parent in entry["parents"]
    ]
    if parents:
        head = ("Folder", "Made from", "Reference", "Hash")
        blocks.append(Table("What each folder was made from.", head, parents, labels=4))
    return Section("lineage", "Lineage", blocks)


def _seed(seed: int | None) -> str:
    return DASH if seed is None else str(seed)


def _code(code: dict[str, str | None] | None) -> str:
    if code is None:
        return DASH
    commit = f" at {short_hash(code['commit'])}" if code["commit"] else ""
    return f"{code['version']}{commit}"
