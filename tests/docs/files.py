"""The files that the pages give to copy (fences with `file=`), written into one folder."""

from pathlib import Path

from tests.docs.pages import Block, blocks, pages

EDITS = {"reading.yaml": ("domains: [migration, religion, gender]", "domains: [challenged_books]")}
"""What the guide says to change in a file that is made `after` another one."""


def file_blocks() -> list[Block]:
    """All fences with a file, by page and line."""
    return [block for page in pages() for block in blocks(page) if "file" in block.marks]


def write_files(folder: Path) -> dict[str, Block]:
    """Writes every file into `folder`; returns the block of each by its name."""
    found: dict[str, Block] = {}
    for block in file_blocks():
        name = block.marks["file"]
        assert name not in found, f"{block.where}: {name} is also at {found[name].where}"
        found[name] = block
        text = block.text
        if "after" in block.marks:
            earlier = (folder / block.marks["after"]).read_text(encoding="utf-8")
            assert all(part in earlier for part in ("domains: universal\n", EDITS[name][0]))
            text = earlier.replace(*EDITS[name]).replace("domains: universal\n", text)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    return found
